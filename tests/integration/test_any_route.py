"""What holds on every route: an id on every answer, and no body that is the gateway's fault."""

from __future__ import annotations

import pytest
from customer_api import ADMIN_KEY
from served import configuration, serve

from serving.fake_node import FakeNode

pytestmark = pytest.mark.anyio

DEEP = b"[" * 50_000 + b"]" * 50_000
BODIES = {
    b'{"\xff": 1}': "invalid_json",
    b'{"name": "\xff", "account": "\xff", "model": "\xff", "metadata": "\xff"}': None,
    b'{"metadata": %b, "name": %b, "account": %b, "model": %b}' % (DEEP, DEEP, DEEP, DEEP): None,
    b'{"name": "\\ud800"}': None,
    b"{": "invalid_json",
}
PUBLIC = ["/v1/batches", "/v1/keys"]
ADMIN = [f"/admin/v1/{what}" for what in ("accounts", "keys", "prices", "accounts/acme/deposits")]


@pytest.fixture
def home(tmp_path):
    (tmp_path / "admin_key").write_text(ADMIN_KEY + "\n")
    return tmp_path


async def test_no_body_is_the_gateways_fault(home):
    async with serve(home, configuration([])) as served:
        admin = {"authorization": f"Bearer {ADMIN_KEY}"}
        (key,) = (await served.client.get("/admin/v1/keys", headers=admin)).json()["data"]
        may = await served.client.patch(
            f"/admin/v1/keys/{key['key_id']}", headers=admin, json={"manages_keys": True}
        )
        assert may.status_code == 200, may.text
        for path in PUBLIC + ADMIN:
            for body, code in BODIES.items():
                headers = admin if path in ADMIN else {}
                answer = await served.client.post(path, content=body, headers=headers)
                assert answer.status_code == 400, (path, body[:60], answer.text)
                error = answer.json()["error"]
                assert set(error) == {"message", "type", "param", "code"}
                assert code is None or error["code"] == code, (path, body[:60], error)


async def test_a_field_that_is_missing_or_wrong_is_named(home):
    async with serve(home, configuration([])) as served:
        for path, sent, param, code in (
            ("/v1/batches", {}, "input_file_id", "missing_required_parameter"),
            ("/v1/batches?limit=0", None, "limit", "integer_out_of_range"),
            ("/v1/files?order=up", None, "order", "invalid_value"),
        ):
            method = "GET" if sent is None else "POST"
            answer = await served.client.request(method, path, json=sent)
            error = answer.json()["error"]
            assert (answer.status_code, error["param"], error["code"]) == (400, param, code)
            assert f"'{param}'" in error["message"]


async def test_every_answer_has_an_id_of_its_own(tmp_path):
    async with FakeNode() as node, serve(tmp_path, configuration([node])) as served:
        asked = {"model": "fake", "input": "hi", "max_output_tokens": 16}
        answers = [
            await served.client.post("/v1/responses", json=asked),
            *[
                await served.client.get(path)
                for path in ("/v1/models", "/v1/models/none", "/v1/files", "/metrics", "/healthz")
            ],
            *[await served.client.get(path) for path in ("/none", "/v1/messages", "/explorer")],
        ]
        ids = [answer.headers.get_list("x-request-id") for answer in answers]
        assert all(len(each) == 1 for each in ids), ids
        assert len({each for (each,) in ids}) == len(answers)


async def test_a_path_that_is_not_on_the_page_is_404(tmp_path):
    """No redirect, and no page that loads scripts from elsewhere where the console is."""
    async with serve(tmp_path, configuration([])) as served:
        for path in ("/v1/models/", "/v1/responses/", "/docs", "/openapi.json"):
            answer = await served.client.get(path)
            assert answer.status_code == 404, answer.text
            assert answer.json()["error"]["code"] in ("unknown_url", "model_not_found")


async def test_the_context_is_told_by_the_callers_own_field(tmp_path):
    async with FakeNode() as node, serve(tmp_path, configuration([node])) as served:
        chat = {"model": "fake", "messages": [{"role": "user", "content": "hi"}]}
        for path, sent, param in (
            ("/v1/chat/completions", {**chat, "max_tokens": 9999}, "max_tokens"),
            ("/v1/chat/completions", {**chat, "max_completion_tokens": 9999}, None),
            ("/v1/responses", {"model": "fake", "input": "x", "max_output_tokens": 9999}, None),
        ):
            param = param or next(name for name in sent if name.startswith("max_"))
            error = (await served.client.post(path, json=sent)).json()["error"]
            assert (error["param"], error["code"]) == (param, "context_length_exceeded")
            assert error["message"].endswith(f"Please reduce '{param}'.")
        unknown = {"model": "fake", "input": "x", "max_tokens": 4}
        error = (await served.client.post("/v1/responses", json=unknown)).json()["error"]
        assert (error["param"], error["code"]) == ("max_tokens", "unknown_parameter")

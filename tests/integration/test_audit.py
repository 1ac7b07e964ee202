"""Whatever operators change is in one trail: who, when, from where, before and after."""

from __future__ import annotations

import asyncio
import json

import httpx
import pytest
from click.testing import CliRunner
from customer_api import ADMIN_KEY
from served import Served, configuration, serve

from gateway.cli import main
from gateway.routes.admin.audited import CHANGES, PREFIX
from serving.fake_node import FakeNode

pytestmark = pytest.mark.anyio
ADMIN = {"authorization": f"Bearer {ADMIN_KEY}"}
ENROLMENT = '[enrolment]\nauthority = "gw.example"\n'
ASKED = {"model": "fake", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 2}


@pytest.fixture
async def served(tmp_path):
    (tmp_path / "admin_key").write_text(ADMIN_KEY + "\n")
    async with (
        FakeNode() as node,
        serve(tmp_path, configuration([node], model=ENROLMENT)) as made,
    ):
        yield made


async def ask(served: Served, method: str, path: str, body: object = None) -> httpx.Response:
    return await served.client.request(method, f"{PREFIX}{path}", json=body, headers=ADMIN)


async def trail(served: Served, **asked: str) -> list[dict]:
    answer = await served.client.get(f"{PREFIX}/audit", params=asked, headers=ADMIN)
    return answer.json()["data"]


async def command(served: Served, *words: str) -> str:
    """What it printed; it failed if that is an error."""
    asked = [*words, "--json", "--home", str(served.home)]
    done = await asyncio.to_thread(lambda: CliRunner().invoke(main, asked))
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.output


async def test_a_change_by_the_api_says_what_was_before_and_after(served):
    made = (await ask(served, "POST", "/keys", {"account": "acme", "name": "x"})).json()
    key_id = made["key_id"]
    await ask(served, "PATCH", f"/keys/{key_id}", {"requests_per_minute": 5})
    await ask(served, "POST", f"/keys/{key_id}/rotate", {})
    lines = await trail(served, subject=key_id)
    assert [(line["action"], line["outcome"]) for line in lines] == [
        ("rotate-key", "done"), ("rotate-key", "began"),
        ("update-key", "done"), ("update-key", "began"),
        ("create-key", "done"),
    ]  # fmt: skip
    updated = lines[2]
    assert (updated["via"], updated["source"]) == ("api", "127.0.0.1")
    assert updated["before"]["requests_per_minute"] is None
    assert updated["after"]["requests_per_minute"] == 5
    assert lines[3]["detail"] == '{"requests_per_minute":5}'
    everything = json.dumps(await trail(served))
    assert "sk-tg" not in everything
    assert made["api_key"] not in everything


async def test_a_refusal_is_told_and_a_stranger_leaves_no_line(served):
    answer = await ask(served, "DELETE", "/keys/none")
    assert answer.status_code == 404
    (refused, began) = await trail(served)
    assert (began["action"], began["subject"], began["outcome"]) == ("revoke-key", "none", "began")
    assert (refused["outcome"], refused["after"]) == ("refused", None)
    assert "none" in refused["detail"]
    for headers in (
        {},
        {"authorization": f"Bearer {served.secret}"},
        {"authorization": "Bearer x"},
    ):
        answer = await served.client.post(f"{PREFIX}/nodes/freeze", headers=headers)
        assert answer.status_code in (401, 403)
    assert len(await trail(served)) == 2


async def test_a_command_and_the_api_write_one_trail(served):
    key_id = json.loads(await command(served, "key", "create", "--account", "acme"))["key_id"]
    await command(served, "account", "deposit", "acme", "2.50")
    await command(served, "key", "revoke", key_id)
    await ask(served, "POST", "/accounts/acme/deposits", {
        "method": "manual", "amount_usd": "1", "id": "d1"
    })  # fmt: skip
    lines = await trail(served)
    done = [line for line in lines if line["outcome"] == "done"]
    assert [(line["via"], line["action"], line["subject"]) for line in done] == [
        ("api", "deposit", "acme"),
        ("cli", "revoke-key", key_id),
        ("cli", "deposit", "acme"),
        ("cli", "create-key", key_id),
    ]
    assert done[0]["after"]["paid_in_nano_usd"] - done[0]["before"]["paid_in_nano_usd"] == 10**9
    assert done[1]["who"]
    assert (done[1]["before"]["revoked_at"], done[1]["after"]["revoked_at"] is None) == (
        None,
        False,
    )
    printed = await command(served, "audit", "--subject", "acme", "--limit", "3")
    assert [json.loads(line) for line in printed.splitlines()] == (
        await trail(served, subject="acme")
    )[:3]


async def test_a_model_is_drained_by_api_and_command_alike(served):
    async def status() -> tuple[int, str]:
        answer = await served.client.post("/v1/chat/completions", json=ASKED)
        return answer.status_code, answer.json().get("error", {}).get("code", "")

    assert await status() == (200, "")
    drained = await ask(served, "POST", "/drains/models/fake")
    assert list(drained.json()["models"]) == ["fake"]
    assert await status() == (429, "model_drained")
    assert (await served.client.get("/readyz")).status_code == 200
    assert json.loads(await command(served, "drain", "list"))["models"] == drained.json()["models"]
    await ask(served, "DELETE", "/drains/models/fake")
    assert await status() == (200, "")
    assert (await ask(served, "POST", "/drains/models/none")).status_code == 404
    assert (await ask(served, "POST", "/drains/nodes/none")).status_code == 404
    await command(served, "drain", "node", "node-0")
    assert list((await ask(served, "GET", "/drains")).json()["nodes"]) == ["node-0"]
    await ask(served, "DELETE", "/drains/nodes/node-0")
    assert await status() == (200, "")
    (undrained, *_) = await trail(served, subject="node-0")
    assert undrained["before"]["drained_at"]
    assert undrained["after"]["drained_at"] is None


async def test_every_change_of_the_api_is_written_down(served):
    app = served.server.config.app._rest
    changes = {
        f"{method} {route.path.removeprefix(PREFIX)}"
        for route in app.routes
        if route.path.startswith(f"{PREFIX}/")
        for method in route.methods - {"GET", "HEAD"}
    }
    assert changes == set(CHANGES)

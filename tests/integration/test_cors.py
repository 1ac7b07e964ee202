"""What a browser needs, over both drivers: CORS, OPTIONS, HEAD."""

from __future__ import annotations

import pytest
from raw_node import STREAM, WHOLE, RawNode, ok
from served import configuration, serve

pytestmark = pytest.mark.anyio
CHAT = "/v1/chat/completions"
ASKED = {"model": "fake", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 12}
PAGE = {"origin": "https://page.example"}
PREFLIGHT = {**PAGE, "access-control-request-method": "POST"}
CLOSING = b"HTTP/1.0 200 OK\r\n\r\n"


@pytest.fixture(params=["protocol", "asgi"])
def driver(request):
    return request.param


@pytest.mark.parametrize("stream", [False, True])
async def test_any_page_may_call_with_its_own_key(tmp_path, driver, stream):
    answers = CLOSING + STREAM if stream else ok(WHOLE)
    async with (
        RawNode(answers, closes=stream) as node,
        serve(tmp_path, configuration([node]), driver=driver) as served,
    ):
        for path, asked in [(CHAT, {**ASKED, "stream": stream}), (CHAT, {}), ("/v1/nothing", {})]:
            answer = await served.client.post(path, json=asked, headers=PAGE)
            assert answer.headers["access-control-allow-origin"] == "*"
            assert "x-request-id" in answer.headers["access-control-expose-headers"]
            assert "access-control-allow-credentials" not in answer.headers
        plain = await served.client.post(CHAT, json=ASKED)
        assert not [name for name in plain.headers if name.startswith("access-control")]


@pytest.mark.parametrize("path", [CHAT, "/v1/models", "/v1/nothing"])
async def test_preflight_needs_no_key(tmp_path, driver, path):
    async with (
        RawNode(ok(WHOLE)) as node,
        serve(tmp_path, configuration([node]), driver=driver) as served,
    ):
        asked = {"access-control-request-headers": "authorization,x-stainless-os"}
        answer = await served.client.options(
            path, headers={**PREFLIGHT, **asked, "authorization": ""}
        )
        assert (answer.status_code, answer.content) == (204, b"")
        assert answer.headers["access-control-allow-origin"] == "*"
        assert "POST" in answer.headers["access-control-allow-methods"]
        assert answer.headers["access-control-allow-headers"] == "authorization,x-stainless-os"
        assert int(answer.headers["access-control-max-age"]) > 0
        assert not node.requests


async def test_only_the_origins_that_are_configured(tmp_path, driver):
    async with RawNode(ok(WHOLE)) as node:
        config = configuration([node], server='cors_origins = ["https://page.example"]')
        async with serve(tmp_path, config, driver=driver) as served:
            for origin, allowed in [("https://page.example", True), ("https://x.example", False)]:
                for answer in (
                    await served.client.post(CHAT, json=ASKED, headers={"origin": origin}),
                    await served.client.options(CHAT, headers={**PREFLIGHT, "origin": origin}),
                ):
                    found = answer.headers.get("access-control-allow-origin")
                    assert found == (origin if allowed else None)
                    assert answer.headers["vary"] == "origin"


async def test_cors_can_be_off(tmp_path, driver):
    async with RawNode(ok(WHOLE)) as node:
        config = configuration([node], server="cors_origins = []")
        async with serve(tmp_path, config, driver=driver) as served:
            answer = await served.client.post(CHAT, json=ASKED, headers=PAGE)
            assert answer.status_code == 200
            assert not [name for name in answer.headers if name.startswith("access-control")]


async def test_head_is_get_without_a_body(tmp_path, driver):
    async with (
        RawNode(ok(WHOLE)) as node,
        serve(tmp_path, configuration([node]), driver=driver) as served,
    ):
        for path in ("/healthz", "/v1/models", "/v1/nothing"):
            got, head = await served.client.get(path), await served.client.head(path)
            assert (head.status_code, head.content) == (got.status_code, b"")
            assert head.headers["content-length"] == got.headers["content-length"]
            assert head.headers["content-type"] == got.headers["content-type"]


async def test_methods_that_are_not_served_say_which_are(tmp_path, driver):
    async with (
        RawNode(ok(WHOLE)) as node,
        serve(tmp_path, configuration([node]), driver=driver) as served,
    ):
        for method in ("GET", "HEAD", "PUT", "DELETE"):
            answer = await served.client.request(method, CHAT)
            assert (answer.status_code, answer.headers["allow"]) == (405, "POST, OPTIONS")
        options = await served.client.options(CHAT)
        assert (options.status_code, options.headers["allow"]) == (204, "POST, OPTIONS")
        refused = await served.client.post("/healthz")
        assert (refused.status_code, refused.headers["allow"]) == (405, "GET")
        assert not node.requests

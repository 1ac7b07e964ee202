"""The limits of a key at the door of a whole gateway, over both drivers."""

from __future__ import annotations

import asyncio
import json

import openai
import pytest
from served import configuration, eventually, serve

from serving.fake_faults import Fault
from serving.fake_node import FakeNode
from serving.simulated_engine import Pace

pytestmark = pytest.mark.anyio
CHAT = "/v1/chat/completions"


@pytest.fixture(params=["protocol", "asgi"])
def driver(request):
    return request.param


def chat(**fields) -> dict:
    hi = [{"role": "user", "content": "hi there"}]
    return {"model": "fake", "messages": hi, "max_tokens": 12, **fields}


def limited(node, **limits):
    lines = "".join(f"{name} = {value}\n" for name, value in limits.items())
    return configuration([node], server="[limits]\n" + lines)


async def test_requests_a_minute(tmp_path, driver):
    async with (
        FakeNode() as node,
        serve(tmp_path, limited(node, requests_per_minute=3), driver=driver) as served,
    ):
        for _ in range(3):
            assert (await served.client.post(CHAT, json=chat())).status_code == 200
        refused = await served.client.post(CHAT, json=chat())
        assert refused.status_code == 429
        error = refused.json()["error"]
        assert (error["type"], error["code"]) == ("requests", "rate_limit_exceeded")
        assert "requests per min (RPM): Limit 3, Used 3, Requested 1" in error["message"]
        assert 1 <= int(refused.headers["retry-after"]) <= 61
        assert int(refused.headers["retry-after-ms"]) <= 61_000
        assert refused.headers["x-ratelimit-limit-requests"] == "3"
        assert refused.headers["x-ratelimit-remaining-requests"] == "0"
        client = openai.AsyncOpenAI(
            base_url=f"{served.base_url}/v1", api_key=served.secret, max_retries=0
        )
        with pytest.raises(openai.RateLimitError) as caught:
            await client.chat.completions.create(**chat())
        await client.close()
        assert caught.value.code == "rate_limit_exceeded"
        assert len(await served.charges(3)) == 3


FAULTS = {
    429: Fault(refuse_connections=True),
    400: Fault(status=400),
    500: Fault(status=500),
}


@pytest.mark.parametrize("status", FAULTS)
async def test_what_is_refused_or_failed_by_us_uses_up_nothing(tmp_path, driver, status):
    async with (
        FakeNode() as node,
        serve(tmp_path, limited(node, requests_per_minute=1), driver=driver) as served,
    ):
        for bad in (chat(model="none"), chat(max_tokens=0), chat(max_tokens=5000)):
            assert (await served.client.post(CHAT, json=bad)).status_code in (400, 404)
        await node.inject(FAULTS[status])
        assert (await served.client.post(CHAT, json=chat())).status_code == status
        await node.inject(Fault())
        await eventually(lambda: served.client.post(CHAT, json=chat()), answered)
        (charge,) = [c for c in await served.charges(2) if c.completion_tokens]
        assert charge.completion_tokens == 12


def answered(answer) -> bool:
    """False while the node is ejected; a request that counted would be refused for a minute."""
    assert answer.status_code == 200 or answer.json()["error"]["code"] == "no_capacity"
    return answer.status_code == 200


async def test_tokens_a_minute_are_those_that_were_used(tmp_path, driver):
    async with (
        FakeNode() as node,
        serve(tmp_path, limited(node, tokens_per_minute=1000), driver=driver) as served,
    ):
        for _ in range(5):
            assert (await served.client.post(CHAT, json=chat(max_tokens=20))).status_code == 200
        charges = await served.charges(5)
        used = sum(charge.prompt_tokens + charge.completion_tokens for charge in charges)
        refused = await served.client.post(CHAT, json=chat(max_tokens=380))
        assert refused.status_code == 429
        error = refused.json()["error"]
        assert (error["type"], error["code"]) == ("tokens", "rate_limit_exceeded")
        assert f"Limit 1000, Used {used}, Requested 9" in error["message"]
        assert refused.headers["x-ratelimit-remaining-tokens"] == str(1000 - used)


async def test_what_can_never_run_says_so(tmp_path, driver):
    async with (
        FakeNode() as node,
        serve(tmp_path, limited(node, tokens_per_minute=1000), driver=driver) as served,
    ):
        refused = await served.client.post(CHAT, json=chat(max_tokens=2000))
        assert refused.status_code == 429
        assert refused.headers["x-should-retry"] == "false"
        assert "retry-after" not in refused.headers
        assert "Limit 1000, Requested 2" in refused.json()["error"]["message"]
        assert (await served.client.post(CHAT, json=chat())).status_code == 200


async def test_who_leaves_while_being_judged_leaves_nothing_reserved(tmp_path, driver):
    async with (
        FakeNode() as node,
        serve(tmp_path, limited(node, concurrent_requests=1), driver=driver) as served,
    ):
        body = json.dumps(chat()).encode()
        head = (
            f"POST {CHAT} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {served.secret}\r\n"
            f"content-length: {len(body)}\r\n\r\n"
        )
        _, writer = await asyncio.open_connection("127.0.0.1", served.server.port)
        writer.write(head.encode() + body)  # the account's balance must be looked up first
        writer.transport.abort()

        def is_served(answer) -> bool:
            return answer.status_code == 200

        await eventually(lambda: served.client.post(CHAT, json=chat()), is_served)


async def test_requests_at_once(tmp_path, driver):
    async with (
        FakeNode(pace=Pace(ttft_ms=50)) as node,
        serve(tmp_path, limited(node, concurrent_requests=2), driver=driver) as served,
    ):
        answers = await asyncio.gather(*(served.client.post(CHAT, json=chat()) for _ in range(6)))
        assert sorted(answer.status_code for answer in answers) == [200, 200, 429, 429, 429, 429]
        assert (await served.client.post(CHAT, json=chat())).status_code == 200

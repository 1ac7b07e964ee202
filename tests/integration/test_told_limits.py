"""Where a key stands with its limits, told in the headers of every answer."""

from __future__ import annotations

import asyncio
import re

import pytest
from served import configuration, serve
from together import REDIS, together, write_config

from serving.fake_faults import Fault
from serving.fake_node import FakeNode
from serving.simulated_engine import Pace

pytestmark = pytest.mark.anyio
CHAT = "/v1/chat/completions"
HI = [{"role": "user", "content": "hi there"}]
ASKED = {"model": "fake", "messages": HI, "max_tokens": 12}
LIMITS = "[limits]\nrequests_per_minute = 100\ntokens_per_minute = 5000\n"
DURATION = re.compile(r"(\d+m)?\d+(\.\d+)?s|\d+ms")
HEADERS = {
    f"x-ratelimit-{part}-{kind}"
    for part in ("limit", "remaining", "reset")
    for kind in ("requests", "tokens")
}


@pytest.fixture(params=["protocol", "asgi"])
def driver(request):
    return request.param


def told(answer) -> tuple[int, int]:
    """What is left of requests and of tokens, in an answer that says all six."""
    assert set(answer.headers) >= HEADERS
    assert answer.headers["x-ratelimit-limit-requests"] == "100"
    assert answer.headers["x-ratelimit-limit-tokens"] == "5000"
    for kind in ("requests", "tokens"):
        assert DURATION.fullmatch(answer.headers[f"x-ratelimit-reset-{kind}"])
        assert len(answer.headers.get_list(f"x-ratelimit-limit-{kind}")) == 1
    remaining = (answer.headers[f"x-ratelimit-remaining-{kind}"] for kind in ("requests", "tokens"))
    return tuple(map(int, remaining))


async def test_every_answer_tells_what_is_left(tmp_path, driver):
    async with (
        FakeNode(pace=Pace(token_ms=10)) as node,
        serve(tmp_path, configuration([node], server=LIMITS), driver=driver) as served,
    ):
        answer = await served.client.post(CHAT, json=ASKED)
        used = answer.json()["usage"]["total_tokens"]
        assert told(answer) == (99, 5000 - used), "what was set aside and not used is given back"
        assert 59 < seconds(answer.headers["x-ratelimit-reset-requests"]) <= 61

        streamed = await served.client.post(CHAT, json={**ASKED, "stream": True})
        requests, tokens = told(streamed)
        assert requests == 98
        assert tokens < 5000 - 2 * used, "the most that a running stream may use counts as used"

        unread = await served.client.post(CHAT, json={**ASKED, "n": -1})
        assert (unread.status_code, told(unread)) == (400, (98, 5000 - 2 * used))
        await node.inject(Fault(status=400, requests=1))
        refused = await served.client.post(CHAT, json=ASKED)
        assert (refused.status_code, told(refused)) == (400, (98, 5000 - 2 * used))
        large = await served.client.post(CHAT, json={**ASKED, "max_tokens": 2000, "n": 4})
        assert (large.status_code, told(large)) == (429, (98, 5000 - 2 * used))

        message = {"model": "fake", "max_tokens": 12, "messages": HI}
        assert told(await served.client.post("/v1/messages", json=message))[0] == 97
        assert told(await served.client.post("/v1/messages", json={**message, "stream": True}))
        response = {"model": "fake", "input": "hi there"}
        assert told(await served.client.post("/v1/responses", json=response))[0] == 95
        assert told(await served.client.post("/v1/responses", json={**response, "stream": True}))
        page = await served.client.post(CHAT, json=ASKED, headers={"origin": "https://a.example"})
        assert "x-ratelimit-reset-tokens" in page.headers["access-control-expose-headers"]


async def test_without_limits_nothing_is_told_and_of_one_limit_only_that(tmp_path, driver):
    async with FakeNode() as node:
        async with serve(tmp_path, configuration([node]), driver=driver) as served:
            answer = await served.client.post(CHAT, json=ASKED)
            assert not HEADERS & set(answer.headers)
        one = configuration([node], server="[limits]\nrequests_per_minute = 9\n")
        async with serve(tmp_path, one, driver=driver) as served:
            answer = await served.client.post(CHAT, json=ASKED)
            assert HEADERS & set(answer.headers) == {n for n in HEADERS if n.endswith("requests")}


async def test_what_is_left_is_that_of_all_workers(tmp_path, redis):
    async with FakeNode() as node:
        write_config(tmp_path, [node], more=LIMITS + REDIS)
        async with together(tmp_path, "--workers", "2") as running:
            answers = await asyncio.gather(
                *(running.client.post(CHAT, json=ASKED) for _ in range(20))
            )
            assert all(told(answer)[0] < 100 for answer in answers)
            last = await running.client.post(CHAT, json=ASKED)
            requests, tokens = told(last)
            assert 0 <= requests <= 79, "never more than there is"
            assert 0 <= tokens < 5000
            reset = seconds(last.headers["x-ratelimit-reset-requests"])
            assert 0 < reset <= 62
            await running.end()


def seconds(duration: str) -> float:
    assert not duration.endswith("ms")
    minutes, _, rest = duration.rpartition("m")
    return int(minutes or 0) * 60 + float(rest.removesuffix("s"))

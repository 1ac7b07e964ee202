"""A gateway with no place left refuses before it reads what is asked, and at once serves again."""

from __future__ import annotations

import asyncio
import json

import pytest
from raw_client import CHAT, RawClient
from served import configuration, eventually, serve

from serving.fake_node import FakeNode
from serving.simulated_engine import Pace

pytestmark = pytest.mark.anyio
ASKED = {"model": "fake", "messages": [{"role": "user", "content": "hi there"}], "max_tokens": 4}
LARGE_BYTES = 1_000_000


@pytest.fixture(params=["protocol", "asgi"])
def driver(request):
    return request.param


async def taken(served, node) -> asyncio.Task:
    """The one place, and a refusal that shows it."""
    task = asyncio.create_task(served.client.post(CHAT, json=ASKED))
    await eventually(lambda: len(node.received), bool)
    refused = await served.client.post(CHAT, json=ASKED)
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "no_capacity")
    return task


async def test_what_nobody_could_take_is_not_read(tmp_path, driver):
    config = "[limits]\nrequests_per_minute = 50\n"
    async with FakeNode(pace=Pace(ttft_ms=1500)) as node:
        settings = configuration([node], capacity=1, server=config)
        async with serve(tmp_path, settings, driver=driver) as served:
            first = await taken(served, node)
            unread = await served.client.post(CHAT, content=b"{no json")
            assert (unread.status_code, unread.json()["error"]["code"]) == (429, "no_capacity")
            assert unread.headers["retry-after"] == "1"
            assert unread.headers["x-ratelimit-remaining-requests"] == "49"
            stranger = await served.client.post(
                CHAT, json=ASKED, headers={"authorization": "Bearer sk-no"}
            )
            assert stranger.status_code == 401, "who has no key is not told that it is busy"
            assert (await first).status_code == 200
            read = await served.client.post(CHAT, content=b"{no json")
            assert (read.status_code, read.json()["error"]["code"]) == (400, "invalid_json")
            assert (await served.client.post(CHAT, json=ASKED)).status_code == 200
            assert len(await served.charges(2)) == 2
            assert len(node.received) == 2


async def test_a_large_body_is_refused_by_its_head(tmp_path):
    slow = FakeNode(pace=Pace(ttft_ms=1500))
    async with (
        slow as node,
        serve(tmp_path, configuration([node], capacity=1)) as served,
        await RawClient.connect(served) as raw,
    ):
        first = await taken(served, node)
        head, _, _ = raw.post(ASKED).partition(b"\r\n\r\n")
        length = len(json.dumps(ASKED).encode())
        large = head.replace(b": %d" % length, b": %d" % LARGE_BYTES)
        assert large != head
        raw.send(large + b"\r\n\r\n" + b"{" * 1000)
        assert b" 429 " in await asyncio.wait_for(raw.reader.readuntil(b"\r\n"), 10)
        rest = await raw.reader.read()
        assert b"connection: close" in rest, "what was not read cannot be skipped"
        assert b"no_capacity" in rest
        assert (await first).status_code == 200


async def test_one_full_model_does_not_hide_another(tmp_path):
    other = (
        '\n[[model]]\nid = "other"\ncontext_tokens_max = 2048\nprompt_usd_per_million = "1"\n'
        'completion_usd_per_million = "1"\n'
    )
    async with FakeNode(pace=Pace(ttft_ms=1500)) as node, FakeNode() as idle:
        more = (
            f'\n[[node]]\nid = "idle"\nsupplier = "s"\nurl = "{idle.url}"\nmodel = "other"\n'
            'served_model = "fake"\n'
        )
        settings = configuration([node], capacity=1, model=other + more)
        async with serve(tmp_path, settings) as served:
            first = await taken(served, node)
            answer = await served.client.post(CHAT, json={**ASKED, "model": "other"})
            assert answer.status_code == 200
            assert (await served.client.post(CHAT, content=b"{no json")).status_code == 400
            assert (await first).status_code == 200

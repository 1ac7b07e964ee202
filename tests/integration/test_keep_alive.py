"""Streams before silent nodes, on real sockets: comments from the acceptance on."""

from __future__ import annotations

import json

import openai
import pytest
from raw_client import CHAT
from served import configuration, serve

from serving.fake_faults import Fault
from serving.fake_node import FakeNode
from serving.simulated_engine import Pace

pytestmark = pytest.mark.anyio
ASKED = {"model": "fake", "messages": [{"role": "user", "content": "hi there"}], "max_tokens": 4}
COMMENT = b": keep-alive\n\n"
EVERY_SECOND = "stream_keep_alive_s = 1"


@pytest.fixture(params=["protocol", "asgi"])
def driver(request):
    return request.param


async def test_comments_come_before_the_nodes_head_and_the_answer_is_whole(tmp_path, driver):
    async with FakeNode() as node:
        config = configuration([node], server=EVERY_SECOND)
        async with serve(tmp_path, config, driver=driver) as served:
            await node.inject(Fault(head_delay_ms=3600))
            answer = await served.client.post(CHAT, json={**ASKED, "stream": True})
            assert answer.status_code == 200
            assert answer.content.startswith(2 * COMMENT)
            assert answer.content.endswith(b"data: [DONE]\n\n")
            (charge,) = await served.charges(1)
            assert charge.completion_tokens == 4


async def test_the_openai_sdk_reads_over_comments_between_events(tmp_path):
    async with (
        FakeNode(pace=Pace(token_ms=1300)) as node,
        serve(tmp_path, configuration([node], server=EVERY_SECOND)) as served,
        openai.AsyncOpenAI(base_url=f"{served.base_url}/v1", api_key=served.secret) as sdk,
    ):
        stream = await sdk.chat.completions.create(**ASKED | {"max_tokens": 2}, stream=True)
        chunks = [chunk async for chunk in stream]
    assert chunks[-1].choices[0].finish_reason == "length"


async def test_a_refusal_after_a_comment_is_told_in_the_stream_and_free(tmp_path, driver):
    async with FakeNode() as node:
        config = configuration([node], server=EVERY_SECOND)
        async with serve(tmp_path, config, driver=driver) as served:
            await node.inject(Fault(head_delay_ms=1400, status=503))
            answer = await served.client.post(CHAT, json={**ASKED, "stream": True})
            assert answer.status_code == 200
            assert answer.content.startswith(COMMENT)
            error = json.loads(answer.content.removeprefix(COMMENT + b"data: "))
            assert error["error"]["code"] == 429
            (charge,) = await served.charges(1)
            assert charge.charged_nano_usd == 0


async def test_whole_answers_and_gateways_that_want_none_get_no_comments(tmp_path, driver):
    async with FakeNode() as node:
        config = configuration([node], server="stream_keep_alive_s = 0")
        async with serve(tmp_path, config, driver=driver) as served:
            await node.inject(Fault(head_delay_ms=600))
            answer = await served.client.post(CHAT, json={**ASKED, "stream": True})
            assert COMMENT not in answer.content

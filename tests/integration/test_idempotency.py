"""The same request twice under one Idempotency-Key, on real sockets: one answer, one charge."""

from __future__ import annotations

import asyncio
import json

import pytest
from raw_client import CHAT, RawClient
from served import configuration, eventually, serve

from serving.fake_faults import Fault
from serving.fake_node import FakeNode
from serving.simulated_engine import Pace

pytestmark = pytest.mark.anyio
ASKED = {"model": "fake", "messages": [{"role": "user", "content": "hi there"}], "max_tokens": 4}
KEY = {"idempotency-key": "order-7"}


@pytest.fixture(params=["protocol", "asgi"])
def driver(request):
    return request.param


@pytest.mark.parametrize("stream", [False, True])
async def test_the_same_answer_and_one_charge(tmp_path, driver, stream):
    async with FakeNode() as node, serve(tmp_path, configuration([node]), driver=driver) as served:
        asked = {**ASKED, "stream": stream}
        first = await served.client.post(CHAT, json=asked, headers=KEY)
        again = await served.client.post(CHAT, json=asked, headers=KEY)
        assert first.status_code == again.status_code == 200
        assert first.content == again.content
        assert first.headers["content-type"] == again.headers["content-type"]
        assert first.headers["x-request-id"] == again.headers["x-request-id"]
        assert "idempotent-replayed" not in first.headers
        assert again.headers["idempotent-replayed"] == "true"
        if stream:
            assert first.content.endswith(b"data: [DONE]\n\n")
        assert len(node.received) == 1
        await served.client.post(CHAT, json=asked)
        assert len(await served.charges(2)) == 2, "without the header it is asked anew"


async def test_another_body_is_refused_and_so_is_a_second_one_meanwhile(tmp_path, driver):
    slow = FakeNode(pace=Pace(ttft_ms=300))
    async with slow as node, serve(tmp_path, configuration([node]), driver=driver) as served:
        first = asyncio.create_task(served.client.post(CHAT, json=ASKED, headers=KEY))
        await eventually(lambda: len(node.received), bool)
        meanwhile = await served.client.post(CHAT, json=ASKED, headers=KEY)
        assert meanwhile.status_code == 409
        assert meanwhile.json()["error"]["code"] == "idempotency_key_in_use"
        assert meanwhile.headers["retry-after"] == "1"
        assert (await first).status_code == 200
        other = await served.client.post(CHAT, json={**ASKED, "n": 2}, headers=KEY)
        assert other.status_code == 409
        assert other.json()["error"]["code"] == "idempotency_key_reused"
        assert other.headers["x-should-retry"] == "false"
        assert len(await served.charges(1)) == 1


async def test_what_cost_nothing_may_be_tried_again(tmp_path, driver):
    async with FakeNode() as node, serve(tmp_path, configuration([node]), driver=driver) as served:
        await node.inject(Fault(status=503, requests=1))
        refused = await served.client.post(CHAT, json=ASKED, headers=KEY)
        assert refused.status_code == 429
        wrong = await served.client.post(CHAT, json={**ASKED, "n": -1}, headers=KEY)
        assert wrong.status_code == 400
        assert (await served.client.post(CHAT, json=ASKED, headers=KEY)).status_code == 200


async def test_a_client_that_lost_its_connection_gets_the_rest_by_asking_again(tmp_path):
    paced = FakeNode(pace=Pace(token_ms=100))
    async with paced as node, serve(tmp_path, configuration([node])) as served:
        asked = {**ASKED, "stream": True}
        async with await RawClient.connect(served) as raw:
            raw.send(raw.post(asked, "Idempotency-Key: order-7"))
            await raw.reader.readuntil(b"data: ")
        (charge,) = await served.charges(1)
        assert charge.completion_tokens == 4, "it ran to its end"
        body = json.dumps(asked).encode()

        async def ask():
            headers = {**KEY, "content-type": "application/json"}
            return await served.client.post(CHAT, content=body, headers=headers)

        again = await eventually(ask, lambda answer: answer.status_code == 200)
        assert again.content.endswith(b"data: [DONE]\n\n")
        assert len(await served.charges(1)) == 1


async def test_an_answer_outlives_its_gateway(tmp_path):
    async with FakeNode() as node:
        async with serve(tmp_path, configuration([node])) as served:
            first = await served.client.post(CHAT, json=ASKED, headers=KEY)
            secret = served.secret
        async with serve(tmp_path, configuration([node])) as served:
            again = await served.client.post(
                CHAT, json=ASKED, headers={**KEY, "authorization": f"Bearer {secret}"}
            )
        assert again.content == first.content
        assert len(node.received) == 1


async def test_a_key_that_is_none_is_refused(tmp_path, driver):
    async with FakeNode() as node, serve(tmp_path, configuration([node]), driver=driver) as served:
        long = await served.client.post(CHAT, json=ASKED, headers={"idempotency-key": "x" * 256})
        assert (long.status_code, long.json()["error"]["code"]) == (400, "invalid_idempotency_key")
        stranger = await served.client.post(
            CHAT, json=ASKED, headers={**KEY, "authorization": "Bearer sk-no"}
        )
        assert stranger.status_code == 401

"""A node is late with a first token, over both drivers, on real sockets: another is asked too."""

from __future__ import annotations

import json

import pytest
from served import configuration, eventually, serve

from gateway.exchange.hedges import SAMPLES_MIN
from metering.charge import ChargeOutcome
from serving.fake_faults import Fault
from serving.fake_node import FakeNode

pytestmark = pytest.mark.anyio
CHAT = "/v1/chat/completions"
ASKED = {
    "model": "fake",
    "messages": [{"role": "user", "content": "hi there"}],
    "max_tokens": 3,
    "stream": True,
}


@pytest.mark.parametrize("driver", ["protocol", "asgi"])
async def test_a_stall_before_the_first_token_is_not_waited_for(tmp_path, driver):
    # whatever a busy machine makes late before, there is a second request left for the one that is
    hedged = "[failover]\nhedge_percent_max = 100\n"
    async with FakeNode() as one, FakeNode() as two:
        config = configuration([one, two], model=hedged)
        async with serve(tmp_path, config, driver=driver) as served:
            count = 2 * SAMPLES_MIN
            for _ in range(count):
                whole = await served.client.post(CHAT, json=ASKED)
            won = await served.metric("tollgate_hedges_total", result="won")
            last = (await served.charges(count))[-1]
            late, other = (one, two) if last.node_id == "node-0" else (two, one)
            await late.inject(Fault(stall_after_events=0))
            made = other.engine.generation_tokens
            answer = await served.client.post(CHAT, json=ASKED)
            assert texts(answer.text) == texts(whole.text)
            charge = (await served.charges(count + 1))[-1]
            assert charge.outcome is ChargeOutcome.COMPLETED
            assert charge.completion_tokens == 3
            assert other.engine.generation_tokens >= made + 3
            assert await served.metric("tollgate_hedges_total", result="won") == won + 1
            assert await served.metric("tollgate_failovers_total") == 0
            await eventually(lambda: late.engine.running, lambda running: running == 0)
            assert await served.metric("tollgate_node_in_flight") == 0


def texts(body: str) -> list[str]:
    lines = body.split("\n")
    events = [json.loads(line[6:]) for line in lines if line.startswith("data: {")]
    assert "data: [DONE]" in lines
    return [event["choices"][0]["delta"].get("content") for event in events]

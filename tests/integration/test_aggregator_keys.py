"""What a key with `usage_always` gets, and where its sessions go; on real sockets."""

from __future__ import annotations

import contextlib
import json

import pytest
from raw_client import CHAT
from served import configuration, serve

from metering.backend import open_database
from metering.charge import ChargeOutcome
from metering.key_store import KeyStore
from metering.keys import KeyTerms
from serving.fake_faults import Fault
from serving.fake_node import FakeNode

pytestmark = pytest.mark.anyio
ASKED = {"model": "fake", "messages": [{"role": "user", "content": "hi there"}], "max_tokens": 4}


@pytest.fixture(params=["vllm", "openai"])
def engine(request):
    return request.param


def aggregator(served) -> dict[str, str]:
    with contextlib.closing(open_database(served.home / "ledger.db")) as database:
        _, secret = KeyStore(database).create("acme", "router", KeyTerms(usage_always=True))
    return {"authorization": f"Bearer {secret}"}


def last_event(text: str) -> dict:
    *_, event, done = [line[6:] for line in text.split("\n") if line.startswith("data: ")]
    assert done == "[DONE]"
    return json.loads(event)


@pytest.mark.parametrize("omit", [False, True])
async def test_every_answer_tells_usage_with_cached_and_reasoning_tokens(tmp_path, engine, omit):
    async with (
        FakeNode() as node,
        serve(tmp_path, configuration([node], engine=engine)) as served,
    ):
        headers = aggregator(served)
        await node.inject(Fault(omit_usage=omit))
        whole = await served.client.post(CHAT, json=ASKED, headers=headers)
        stream = await served.client.post(CHAT, json={**ASKED, "stream": True}, headers=headers)
        for usage in (whole.json()["usage"], last_event(stream.text)["usage"]):
            assert usage["completion_tokens"] == 4 or omit
            assert usage["prompt_tokens"] > 0
            assert usage["prompt_tokens_details"]["cached_tokens"] >= 0
            assert usage["completion_tokens_details"]["reasoning_tokens"] == 0
            assert "cost" not in usage


async def test_a_plain_key_is_told_usage_only_when_it_asks(tmp_path):
    async with FakeNode() as node, serve(tmp_path, configuration([node])) as served:
        stream = await served.client.post(CHAT, json={**ASKED, "stream": True})
        assert '"usage"' not in stream.text


async def test_a_stream_that_breaks_and_an_answer_without_tokens_are_free(tmp_path):
    async with FakeNode() as node, serve(tmp_path, configuration([node])) as served:
        headers = aggregator(served)
        await node.inject(Fault(reset_after_events=3))
        await served.client.post(CHAT, json={**ASKED, "stream": True}, headers=headers)
        (charge,) = await served.charges(1)
        assert charge.outcome is ChargeOutcome.NODE_BROKEN
        assert charge.charged_nano_usd == 0


async def test_a_session_goes_to_the_node_that_served_it_last(tmp_path):
    async with (
        FakeNode() as one,
        FakeNode() as other,
        serve(tmp_path, configuration([one, other])) as served,
    ):
        for session in range(8):
            headers = {"x-session-id": f"s{session}"}
            before = len(one.received), len(other.received)
            for turn in range(4):
                asked = {**ASKED, "messages": [{"role": "user", "content": f"{turn}"}]}
                answer = await served.client.post(CHAT, json=asked, headers=headers)
                assert answer.status_code == 200
            after = len(one.received), len(other.received)
            assert sorted(b - a for a, b in zip(before, after, strict=True)) == [0, 4]

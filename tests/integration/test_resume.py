"""Streams whose node dies in them, over both drivers, on real sockets: another node goes on.

The client sees what an unbroken stream would have shown it, and pays what that would have cost;
each node is credited for what it delivered.
"""

from __future__ import annotations

import contextlib
import json
from contextlib import asynccontextmanager

import pytest
from served import configuration, serve

from metering.backend import open_database
from metering.charge import ChargeOutcome
from metering.key_store import KeyStore
from metering.keys import KeyTerms
from serving.fake_faults import NO_FAULT, Fault, Split
from serving.fake_node import FakeNode
from serving.simulated_engine import Pace

pytestmark = pytest.mark.anyio
CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
TOKENS = 12
WITH_USAGE = {"include_usage": True}
ALL_USAGE = {"include_usage": True, "continuous_usage_stats": True}


@pytest.fixture(params=["protocol", "asgi"])
def driver(request):
    return request.param


def asked(path: str, **fields) -> dict:
    prompt = {"prompt": "hi there"}
    if path == CHAT:
        prompt = {"messages": [{"role": "user", "content": "hi there"}]}
    return {"model": "fake", "max_tokens": TOKENS, "stream": True, **prompt, **fields}


def events(body: str) -> list[dict]:
    lines = [line[6:] for line in body.split("\n") if line.startswith("data: ")]
    assert lines.pop() == "[DONE]", body
    return [json.loads(line) for line in lines]


def without_names(stream: list[dict]) -> list[dict]:
    """Which node answered when is all that may differ."""
    kept = [
        {key: value for key, value in event.items() if key not in ("id", "created")}
        for event in stream
    ]
    for event in kept:
        event.pop("system_fingerprint", None)
        if event.get("usage"):
            event["usage"].pop("prompt_tokens_details", None)
            event["usage"].pop("completion_tokens_details", None)
    return kept


def summed(charges) -> tuple[int, int, int]:
    return (
        sum(charge.prompt_tokens for charge in charges),
        sum(charge.completion_tokens for charge in charges),
        sum(charge.charged_nano_usd for charge in charges),
    )


@asynccontextmanager
async def pair(tmp_path, driver, node: dict | None = None, **config: str):
    """A gateway over two nodes, and those."""
    async with (
        FakeNode(**(node or {})) as one,
        FakeNode(**(node or {})) as two,
        serve(tmp_path, configuration([one, two], **config), driver=driver) as served,
    ):
        yield served, one, two


async def broken_once(served, path: str, ask: dict, nodes: list[FakeNode], fault: Fault):
    """Asked of a node that is well, then again, as that fails: its cache makes it the first choice.
    Both answers must be the same. Returns the second stream, and its charges.
    """
    whole = without_names(events((await served.client.post(path, json=ask)).text))
    count = len(unbroken := await served.charges(1))
    dying = next(node for node in nodes if node.received)
    await dying.inject(fault)
    while dying.fault is not NO_FAULT:
        answer = await served.client.post(path, json=ask)
        assert answer.status_code == 200, answer.text[:2000]
        stream = events(answer.text)
        assert without_names(stream) == whole
        count += 1
    charges = (await served.charges(count))[count - 1 :]
    assert len({charge.request_id for charge in charges}) == 1
    assert summed(charges)[:2] == summed(unbroken)[:2]
    with served.ledger() as ledger:
        assert ledger.verify().ok
    return stream, charges


@pytest.mark.parametrize("delivered", [1, 5, TOKENS - 1])
@pytest.mark.parametrize(
    ("path", "options"), [(CHAT, {}), (CHAT, ALL_USAGE), (COMPLETIONS, WITH_USAGE)]
)
async def test_stream_of_a_dead_node_goes_on(tmp_path, driver, path, delivered, options):
    ask = asked(path, **({"stream_options": options} if options else {}))
    fault = Fault(requests=1, reset_after_events=delivered + (path == CHAT))
    async with pair(tmp_path, driver) as (served, *nodes):
        stream, (first, last) = await broken_once(served, path, ask, nodes, fault)
        assert len({(event["id"], event["created"]) for event in stream}) == 1
        assert (first.outcome, last.outcome) == ("resumed", "completed")
        assert {first.node_id, last.node_id} == {"node-0", "node-1"}
        assert first.supplier_id[-1] == first.node_id[-1]
        assert last.supplier_id[-1] == last.node_id[-1]
        tokens = (first.completion_tokens, last.completion_tokens)
        assert tokens == (delivered, TOKENS - delivered)
        assert last.prompt_tokens == 0
        assert first.ttft_ns is None
        assert last.ttft_ns is not None
        assert await served.metric("tollgate_node_in_flight") == 0
        assert await served.metric("tollgate_resumes_total") == 1


@pytest.mark.parametrize(
    "fault",
    [
        Fault(requests=1, end_after_events=5),
        Fault(requests=1, error_after_events=5),
        Fault(requests=1, reset_after_events=5, split=Split.AT_RANDOM),
        Fault(requests=1, stall_after_events=5),
    ],
    ids=["ends", "tells an error", "in pieces", "stalls"],
)
async def test_whatever_ends_it(tmp_path, driver, fault):
    async with pair(tmp_path, driver, server="node_idle_timeout_s = 1") as (served, *nodes):
        _, charges = await broken_once(served, CHAT, asked(CHAT), nodes, fault)
        assert [charge.completion_tokens for charge in charges] == [4, TOKENS - 4]


@pytest.mark.parametrize("tokens", [2, 5])
async def test_seam_is_probed_where_an_event_brought_several_tokens(tmp_path, driver, tokens):
    fault = Fault(requests=1, reset_after_events=2)
    async with pair(tmp_path, driver, {"tokens_per_event": tokens}) as (served, one, two):
        ask = asked(CHAT)
        text = text_of(events((await served.client.post(CHAT, json=ask)).text))
        dying, other = (one, two) if one.received else (two, one)
        await dying.inject(fault)
        assert text_of(events((await served.client.post(CHAT, json=ask)).text)) == text
        assert [request.path for request in other.received] == ["/detokenize", COMPLETIONS]
        charges = (await served.charges(3))[1:]
        assert [charge.completion_tokens for charge in charges] == [tokens, TOKENS - tokens]


async def test_last_event_lost_with_the_node_is_not_missed(tmp_path, driver):
    """All tokens were delivered; only the usage and the end were not."""
    ask = asked(CHAT, stream_options=WITH_USAGE)
    fault = Fault(requests=1, reset_after_events=TOKENS + 1)
    async with pair(tmp_path, driver) as (served, *nodes):
        _, (charge,) = await broken_once(served, CHAT, ask, nodes, fault)
        assert charge.outcome is ChargeOutcome.COMPLETED
        assert charge.completion_tokens == TOKENS


async def test_no_node_left_to_go_on_is_told_and_charged_as_delivered(tmp_path, driver):
    async with pair(tmp_path, driver) as (served, *nodes):
        for node in nodes:
            await node.inject(Fault(reset_after_events=4))
        *before, last = told((await served.client.post(CHAT, json=asked(CHAT))).text)
        assert last["choices"][0]["finish_reason"] == "error"
        charges = await served.charges(2)
        assert [charge.outcome for charge in charges] == ["resumed", "node_broken"]
        assert [charge.completion_tokens for charge in charges] == [3, 4]
        assert len(text_of(before).split()) == 7


async def test_aggregator_pays_nothing_for_what_ends_in_an_error(tmp_path, driver):
    async with pair(tmp_path, driver) as (served, *nodes):
        with contextlib.closing(open_database(served.home / "ledger.db")) as database:
            _, secret = KeyStore(database).create("acme", "router", KeyTerms(usage_always=True))
        headers = {"authorization": f"Bearer {secret}"}
        for node in nodes:
            await node.inject(Fault(reset_after_events=4))
        answer = await served.client.post(CHAT, json=asked(CHAT), headers=headers)
        assert '"finish_reason":"error"' in answer.text
        (charge,) = await served.charges(1)
        assert charge.outcome is ChargeOutcome.NODE_BROKEN
        assert charge.charged_nano_usd == 0


@pytest.mark.parametrize(
    "fields",
    [
        {"n": 2},
        {"stop": ["nothing like that"]},
        {"logprobs": True},
        {"presence_penalty": 0.5},
        {"tools": [{"type": "function", "function": {"name": "f"}}], "tool_choice": "none"},
        {"response_format": {"type": "json_object"}},
        {"return_token_ids": True},
    ],
    ids=lambda fields: next(iter(fields)),
)
async def test_what_cannot_be_gone_on_with_ends_as_before(tmp_path, fields):
    async with pair(tmp_path, "protocol") as (served, one, two):
        for node in (one, two):
            await node.inject(Fault(reset_after_events=6))
        answer = await served.client.post(CHAT, json=asked(CHAT, **fields))
        assert '"finish_reason":"error"' in answer.text
        assert "[DONE]" not in answer.text
        (charge,) = await served.charges(1)
        assert charge.outcome is ChargeOutcome.NODE_BROKEN
        body = json.loads((one.received or two.received)[-1].body)
        assert ("return_token_ids" in body) == ("return_token_ids" in fields)


async def test_it_can_be_turned_off(tmp_path):
    off = "[failover]\nresume = false\n"
    async with pair(tmp_path, "protocol", model=off) as (served, one, two):
        for node in (one, two):
            await node.inject(Fault(reset_after_events=6))
        answer = await served.client.post(CHAT, json=asked(CHAT))
        assert '"finish_reason":"error"' in answer.text
        assert b"return_token_ids" not in (one.received or two.received)[-1].body


async def test_client_that_leaves_a_resumed_stream_pays_both_nodes(tmp_path, driver):
    slow = {"pace": Pace(token_ms=30)}
    async with pair(tmp_path, driver, slow) as (served, *nodes):
        await served.client.post(CHAT, json=asked(CHAT))
        dying = next(node for node in nodes if node.received)
        await dying.inject(Fault(requests=1, reset_after_events=4))
        endless = asked(CHAT, max_tokens=1_000, ignore_eos=True)
        async with served.client.stream("POST", CHAT, json=endless) as answer:
            lines = answer.aiter_lines()
            texts = 0
            while texts < 6:
                line = await anext(lines)
                texts += '"content":"' in line and '"content":""' not in line
        resumed, gone = (await served.charges(3))[1:]
        assert (resumed.outcome, gone.outcome) == ("resumed", "client_gone")
        assert resumed.completion_tokens == 3
        assert gone.completion_tokens >= 3
        assert gone.prompt_tokens == 0


def told(body: str) -> list[dict]:
    return [json.loads(line[6:]) for line in body.split("\n") if line.startswith("data: {")]


def text_of(stream: list[dict]) -> str:
    return "".join(
        event["choices"][0]["delta"].get("content") or "" for event in stream if event["choices"]
    )

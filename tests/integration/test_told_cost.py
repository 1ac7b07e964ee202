"""What answers say they cost is what the ledger charged, to the nano-USD, over both drivers."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
from raw_node import STREAM, WHOLE, RawNode, ok
from served import configuration, serve

from metering.charge import ChargeOutcome
from serving.fake_faults import Fault
from serving.fake_node import FakeNode

pytestmark = pytest.mark.anyio
INCLUDE = {"usage": {"include": True}}
CHAT, COMPLETIONS, EMBEDDINGS = "/v1/chat/completions", "/v1/completions", "/v1/embeddings"
ASKED = {
    CHAT: {"messages": [{"role": "user", "content": "hi there"}], "max_tokens": 12},
    COMPLETIONS: {"prompt": "hi there", "max_tokens": 12},
    EMBEDDINGS: {"input": "hi there"},
}


@pytest.fixture(params=["protocol", "asgi"])
def driver(request):
    return request.param


def question(path: str, **fields) -> dict:
    return {"model": "fake", **ASKED[path], **fields}


def exactly(text: str):
    return json.loads(text, parse_float=Decimal)


def events(text: str) -> list[dict]:
    lines = [line[6:] for line in text.split("\n") if line.startswith("data: ")]
    return [exactly(line) for line in lines if line != "[DONE]"]


def assert_charged(usage: dict, charge) -> None:
    assert usage["cost_nano_usd"] == charge.charged_nano_usd
    assert usage["cost"] * 10**9 == charge.charged_nano_usd
    assert usage["prompt_tokens"] == charge.prompt_tokens


@pytest.mark.parametrize("engine", ["vllm", "openai"])
@pytest.mark.parametrize("path", ASKED)
async def test_a_whole_answer(tmp_path, driver, path, engine):
    config_of = {"engine": engine}
    async with (
        FakeNode() as node,
        serve(tmp_path, configuration([node], **config_of), driver=driver) as served,
    ):
        answer = await served.client.post(path, json=question(path, **INCLUDE))
        (charge,) = await served.charges(1)
        assert charge.charged_nano_usd > 0
        assert_charged(exactly(answer.text)["usage"], charge)


@pytest.mark.parametrize(
    "options",
    [None, {"include_usage": True}, {"include_usage": True, "continuous_usage_stats": True}],
)
@pytest.mark.parametrize("engine", ["vllm", "openai"])
@pytest.mark.parametrize("path", [CHAT, COMPLETIONS])
async def test_a_stream(tmp_path, driver, path, engine, options):
    async with (
        FakeNode() as node,
        serve(tmp_path, configuration([node], engine=engine), driver=driver) as served,
    ):
        asked = question(path, stream=True, stream_options=options, **INCLUDE)
        answer = await served.client.post(path, json=asked)
        (charge,) = await served.charges(1)
        assert answer.text.endswith("data: [DONE]\n\n")
        *chunks, last = events(answer.text)
        assert last["choices"] == []
        assert last["id"] == chunks[0]["id"]
        assert all(chunk["choices"] for chunk in chunks)  # the usage event comes once
        assert_charged(last["usage"], charge)


@pytest.mark.parametrize("stream", [False, True])
async def test_who_does_not_ask_gets_the_bytes_of_the_node(tmp_path, driver, stream):
    answers = [ok(STREAM if stream else WHOLE)] * 2
    async with (
        RawNode(*answers) as node,
        serve(tmp_path, configuration([node]), driver=driver) as served,
    ):
        for usage in ({}, {"usage": {"include": False}}):
            answer = await served.client.post(CHAT, json=question(CHAT, stream=stream, **usage))
            assert b"cost" not in answer.content
            if not stream:
                assert answer.content == WHOLE


@pytest.mark.parametrize("engine", ["vllm", "openai"])
@pytest.mark.parametrize("path", ASKED)
async def test_the_node_does_not_hear_of_it(tmp_path, driver, path, engine):
    async with (
        RawNode(ok(WHOLE)) as node,
        serve(tmp_path, configuration([node], engine=engine), driver=driver) as served,
    ):
        for include in (True, False):
            asked = question(path, usage={"include": include})
            assert (await served.client.post(path, json=asked)).status_code == 200
        for request in node.requests:
            body = json.loads(request.partition(b"\r\n\r\n")[2])
            body.pop("cache_salt", None)
            assert body == question(path)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_cost_beyond_the_hold_is_told_as_what_the_customer_pays(tmp_path, driver, stream):
    """The node generates more than it was asked for: the hold is all that the customer pays."""
    usage = b'"usage":{"prompt_tokens":7,"completion_tokens":2}'
    more = usage.replace(b"2}", b"2000}")
    body = ok((STREAM if stream else WHOLE).replace(usage, more))
    async with (
        RawNode(body) as node,
        serve(tmp_path, configuration([node]), driver=driver) as served,
    ):
        asked = question(CHAT, stream=stream, max_tokens=1, **INCLUDE)
        answer = await served.client.post(CHAT, json=asked)
        (charge,) = await served.charges(1)
        assert charge.charged_nano_usd < charge.cost_nano_usd == 7 * 200 + 2000 * 600
        told = events(answer.text)[-1] if stream else exactly(answer.text)
        assert_charged(told["usage"], charge)


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_without_a_token_costs_nothing_and_says_so(tmp_path, driver, stream):
    empty = b'{"choices":[%b],"usage":{"prompt_tokens":7,"completion_tokens":0}}'
    body = empty % b'{"index":0,"message":{"content":""},"finish_reason":"stop"}'
    if stream:
        body = b"data: " + empty % b"" + b"\n\ndata: [DONE]\n\n"
    async with (
        RawNode(ok(body)) as node,
        serve(tmp_path, configuration([node]), driver=driver) as served,
    ):
        answer = await served.client.post(CHAT, json=question(CHAT, stream=stream, **INCLUDE))
        (charge,) = await served.charges(1)
        assert charge.outcome is ChargeOutcome.EMPTY
        told = events(answer.text)[-1] if stream else exactly(answer.text)
        assert (told["usage"]["cost"], told["usage"]["cost_nano_usd"]) == (0, 0)


async def test_a_stream_that_breaks_tells_the_cost_ahead_of_the_error(tmp_path, driver):
    async with FakeNode() as node, serve(tmp_path, configuration([node]), driver=driver) as served:
        await node.inject(Fault(end_after_events=5))
        answer = await served.client.post(CHAT, json=question(CHAT, stream=True, **INCLUDE))
        (charge,) = await served.charges(1)
        assert charge.outcome is ChargeOutcome.NODE_BROKEN
        usage, error = events(answer.text)[-2:]
        assert error["error"]
        assert charge.charged_nano_usd > 0
        assert_charged(usage["usage"], charge)


async def test_a_usage_that_is_no_option_is_refused(tmp_path, driver):
    async with FakeNode() as node, serve(tmp_path, configuration([node]), driver=driver) as served:
        for usage, param in [({"include": 1}, "usage.include"), ({"x": True}, "usage.x")]:
            answer = await served.client.post(CHAT, json=question(CHAT, usage=usage))
            assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)

"""The cost in an answer: added to what the node said, and nothing else changed."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

from gateway.exchange.actions import End, Respond, Send
from gateway.exchange.told_usage import with_usage
from gateway.openai.request import Endpoint, Question, read
from metering.charge import ChargeOutcome, ChargeRecord


def asked(endpoint: Endpoint = Endpoint.CHAT) -> Question:
    """A question that wants the cost told."""
    field = b'"messages":[{"role":"user","content":"x"}]'
    if endpoint is Endpoint.COMPLETIONS:
        field = b'"prompt":"x"'
    return read(endpoint, b'{"model":"m",%b,"usage":{"include":true}}' % field)


DONE = Send(b"data: [DONE]\n\n")


def record(charged_nano_usd: int) -> ChargeRecord:
    return ChargeRecord(
        charge_id="c", request_id="req_1", account="a", key_id="k", model="m", node_id="n",
        supplier_id="s", prompt_tokens=7, cached_tokens=4, completion_tokens=2, reasoning_tokens=1,
        usage_source=None, price_version="1/1/1", cost_nano_usd=2 * charged_nano_usd,
        charged_nano_usd=charged_nano_usd, outcome=ChargeOutcome.COMPLETED,
        created_ns=1_700_000_000 * 10**9, closed_ns=0, ttft_ns=None,
    )  # fmt: skip


def whole(body: bytes, charged_nano_usd: int = 2600) -> bytes:
    last = [Respond(200, b"application/json", body, ((b"a", b"b"),)), End()]
    told, end = with_usage(last, record(charged_nano_usd), asked(), b"")
    assert (told.status, told.headers, end) == (200, ((b"a", b"b"),), End())
    return told.body


def event(closing: bytes, endpoint: Endpoint = Endpoint.CHAT) -> dict:
    told, done = with_usage([DONE], record(2600), asked(endpoint), closing)
    assert done == DONE
    assert told.data.startswith(b"data: ")
    assert told.data.endswith(b"\n\n")
    return json.loads(told.data[6:])


def test_a_whole_answer():
    usage = b'{"prompt_tokens": 7, "completion_tokens":2,"prompt_tokens_details":{"x":1.50}}'
    body = b'{ "id":"x","usage":' + usage + b',"choices":[{"text":"\\u00e9"}]}'
    assert whole(body) == (
        b'{"id":"x","usage":{"prompt_tokens":7,"completion_tokens":2,'
        b'"prompt_tokens_details":{"x":1.50},"cost":0.0000026,"cost_nano_usd":2600},'
        b'"choices":[{"text":"\\u00e9"}]}'
    )


def test_what_a_node_says_of_cost_is_not_believed():
    usage = json.loads(whole(b'{"usage":{"cost":7,"cost_nano_usd":1}}'))["usage"]
    assert usage == {"cost": 0.0000026, "cost_nano_usd": 2600}


@pytest.mark.parametrize("nano_usd", [0, 1, 999, 10**9, 123_456_789_012, 2**53 - 1, 2**63 - 1])
def test_the_cost_in_usd_is_exact(nano_usd):
    usage = json.loads(whole(b'{"usage":{}}', nano_usd), parse_float=Decimal)["usage"]
    assert Decimal(usage["cost"]) * 10**9 == usage["cost_nano_usd"] == nano_usd


@pytest.mark.parametrize("body", [b"{}", b'{"usage":null}'])
def test_an_answer_without_usage_gets_what_is_charged_for(body):
    assert json.loads(whole(body))["usage"] == {
        "prompt_tokens": 7,
        "completion_tokens": 2,
        "total_tokens": 9,
        "prompt_tokens_details": {"cached_tokens": 4},
        "completion_tokens_details": {"reasoning_tokens": 1},
        "cost": 0.0000026,
        "cost_nano_usd": 2600,
    }


def test_an_answer_that_nobody_can_read_stays_as_it_is():
    body = b'{"\xff":1,"usage":{}}'
    assert whole(body) == body


def test_a_refusal_tells_no_cost():
    last = [Respond(400, b"application/json", b'{"error":{}}'), End()]
    assert with_usage(last, record(0), asked(), b"") == last


def test_the_closing_event_of_a_stream():
    closing = b'{"id":"x","choices":[],"usage":{"prompt_tokens":7,"completion_tokens":2}}'
    usage = {"prompt_tokens": 7, "completion_tokens": 2, "cost": 0.0000026, "cost_nano_usd": 2600}
    assert event(closing) == {"id": "x", "choices": [], "usage": usage}


@pytest.mark.parametrize(
    ("endpoint", "id_", "object_"),
    [
        (Endpoint.CHAT, "chatcmpl-req_1", "chat.completion.chunk"),
        (Endpoint.COMPLETIONS, "cmpl-req_1", "text_completion"),
    ],
)
def test_a_stream_without_a_closing_event_gets_one(endpoint, id_, object_):
    made = event(b"", endpoint)
    assert made["usage"]["cost_nano_usd"] == 2600
    assert (made["id"], made["object"], made["created"], made["model"], made["choices"]) == (
        id_,
        object_,
        1_700_000_000,
        "m",
        [],
    )


def test_the_head_of_a_stream_that_begins_with_its_end_stays_first():
    head = Respond(200, b"text/event-stream")
    told = with_usage([head, DONE, End()], record(0), asked(), b"")
    assert [type(action) for action in told] == [Respond, Send, Send, End]
    assert told[0] == head


def test_a_key_that_always_gets_usage_gets_cached_and_reasoning_tokens_and_no_cost():
    question = asked()
    question.cost_wanted, question.usage_always = False, True
    question.tells_usage = True
    closing = b'{"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":2,'
    closing += b'"prompt_tokens_details":{"cached_tokens":3},"completion_tokens_details":null}}'
    for data, cached in ((closing, 3), (b"", 4)):
        told, _ = with_usage([DONE], record(0), question, data)
        usage = json.loads(told.data[6:])["usage"]
        assert usage["prompt_tokens_details"] == {"cached_tokens": cached}
        assert usage["completion_tokens_details"] == {"reasoning_tokens": 1}
        assert "cost" not in usage


def test_embeddings_have_no_reasoning_to_tell():
    question = asked()
    question.cost_wanted, question.usage_always = False, True
    question.tells_usage = True
    body = b'{"data":[],"usage":{"prompt_tokens":7,"total_tokens":7}}'
    told, _ = with_usage([Respond(200, b"application/json", body), End()], record(0), question, b"")
    assert told.body == body

"""The exchange, played event by event: no socket, no clock, every way a request can end."""

from __future__ import annotations

import json

import pytest
from exchange_play import ANSWER, CLOSING, DONE, Play, event

from gateway.exchange.actions import Dial, Drop, End, HangUp, Record, Respond, Send
from gateway.exchange.state import State
from gateway.openai.request import Endpoint
from metering.charge import ChargeOutcome, ChargeProgress
from metering.usage import Usage, UsageSource
from router.types import Termination


def test_stream_is_relayed_without_what_metering_asked_for():
    play = Play().opened().head().body(event("a", 1), event("b", 3), CLOSING + DONE).node_end()
    assert play.sent == event("a", None) + event("b", None)
    assert play.exchange.state is State.SETTLING
    play.closed()
    assert play.sent == event("a", None) + event("b", None) + DONE
    assert play.exchange.state is State.ENDED
    assert play.close.outcome is ChargeOutcome.COMPLETED
    assert play.close.usage == Usage(prompt_tokens=7, completion_tokens=3)
    assert play.close.usage_source is UsageSource.NODE
    assert play.in_flight == 0


def test_node_is_asked_for_running_usage():
    (dial,) = Play().of(Dial)
    asked = json.loads(dial.body)
    assert asked["stream_options"] == {"include_usage": True, "continuous_usage_stats": True}
    (dial,) = Play(engine="openai").of(Dial)
    assert json.loads(dial.body)["stream_options"] == {"include_usage": True}


def test_nothing_leaves_before_the_opening_row_is_durable():
    play = Play().head().body(event("a", 1))
    assert not play.of(Respond)
    play.opened()
    assert [a.status for a in play.of(Respond)] == [200]
    assert play.sent == event("a", None)


def test_last_line_waits_for_both_rows_even_if_the_node_was_faster_than_the_disk():
    play = Play().head().body(event("a", 3), CLOSING + DONE).node_end()
    assert not play.of(Respond)
    play.opened()
    assert play.sent == event("a", None)
    play.closed()
    assert play.sent.endswith(DONE)
    assert play.of(End)


def test_whole_answer_waits_for_its_charge_alone():
    play = Play(stream=False)
    assert [record.awaited for record in play.of(Record)] == [False]
    play.head().body(ANSWER[:20], ANSWER[20:]).node_end()
    assert not play.of(Respond)
    assert [record.awaited for record in play.of(Record)] == [False, True]
    play.closed()
    (respond,) = play.of(Respond)
    assert (respond.status, respond.body) == (200, ANSWER)
    assert play.close.usage == Usage(prompt_tokens=7, completion_tokens=2)


def test_client_leaving_pays_for_what_was_generated():
    play = Play().opened().head().body(event("a", 1), event("b", 2))
    play.do(play.exchange.client_gone(play.tick()))
    assert play.of(HangUp)
    assert play.close.outcome is ChargeOutcome.CLIENT_GONE
    assert play.close.usage == Usage(prompt_tokens=7, completion_tokens=2)
    assert play.close.usage_source is UsageSource.COUNTED
    assert play.exchange.state is State.ENDED
    assert play.in_flight == 0
    assert play.exchange.node_body(event("c", 3), play.tick()) == []
    assert play.exchange.durable(None, play.tick()) == []


def test_client_leaving_before_the_first_token_pays_nothing():
    play = Play().opened()
    play.do(play.exchange.client_gone(play.tick()))
    assert play.close.usage is None


def test_client_leaving_while_settling_changes_nothing():
    play = Play().opened().head().body(event("a", 3), CLOSING + DONE)
    assert play.exchange.client_gone(play.tick()) == []
    assert play.close.usage == Usage(prompt_tokens=7, completion_tokens=3)


def test_connect_error_goes_to_the_next_node():
    play = Play().opened().failed()
    first, second = play.of(Dial)
    assert first.node.node_id != second.node.node_id
    play.head().body(event("a", 3), CLOSING, DONE).closed()
    assert play.sent.endswith(DONE)
    assert play.close.node_id == second.node.node_id
    assert play.in_flight == 0


def test_break_before_the_first_event_goes_to_the_next_node():
    play = Play().opened().head().failed(Termination.BROKEN)
    assert len(play.of(Dial)) == 2
    assert not play.of(Respond)


def test_all_nodes_unreachable_is_429_and_free():
    play = Play(nodes=2).opened().failed().failed().closed()
    (respond,) = play.of(Respond)
    assert respond.status == 429
    assert dict(respond.headers)[b"retry-after"]
    assert play.close.usage is None
    assert play.close.outcome is ChargeOutcome.NO_CAPACITY
    assert play.exchange.state is State.ENDED


def test_break_in_the_stream_tells_the_client_and_charges_what_was_delivered():
    play = Play().opened().head().body(event("a", 1), event("b", 2)).failed(Termination.BROKEN)
    assert play.close.outcome is ChargeOutcome.NODE_BROKEN
    assert play.close.usage == Usage(prompt_tokens=7, completion_tokens=2)
    play.closed()
    assert b'"finish_reason":"error"' in play.sent
    assert b"[DONE]" not in play.sent
    assert len(play.of(Dial)) == 1


def test_error_event_in_the_stream_is_free():
    error = b'data: {"error":{"message":"engine died","code":500}}\n\n'
    play = Play().opened().head().body(event("a", 1), error).closed()
    assert play.close.outcome is ChargeOutcome.NODE_ERROR
    assert play.close.usage is None
    assert b"engine died" not in play.sent
    assert b'"finish_reason":"error"' in play.sent
    assert play.of(HangUp)


def test_error_event_first_goes_to_the_next_node():
    error = b'data: {"error":{"message":"engine died","code":500}}\n\n'
    assert len(Play().opened().head().body(error).of(Dial)) == 2


def test_overloaded_node_goes_to_the_next_and_then_429():
    play = Play().opened()
    for _ in range(2):
        play.head(503).body(b'{"error":{"message":"busy"}}').node_end()
    play.closed()
    assert [a.status for a in play.of(Respond)] == [429]


def test_engine_failure_everywhere_is_500_and_free():
    play = Play().opened()
    for _ in range(2):
        play.head(500).body(b"oops").node_end()
    play.closed()
    assert [a.status for a in play.of(Respond)] == [429] or play.close.outcome in (
        ChargeOutcome.NODE_ERROR,
        ChargeOutcome.NO_CAPACITY,
    )
    assert play.close.usage is None


def test_nodes_refusal_of_the_request_is_translated_and_not_repeated():
    refusal = json.dumps(
        {
            "error": {
                "message": "This model's maximum context length is 2048 tokens. However, your "
                "prompt contains 3000. (parameter=input_tokens, value=3000)",
                "type": "BadRequestError",
                "param": "input_tokens",
                "code": 400,
            }
        }
    ).encode()
    play = Play().opened().head(400).body(refusal).node_end().closed()
    (respond,) = play.of(Respond)
    error = json.loads(respond.body)["error"]
    assert respond.status == 400
    assert error["code"] == "context_length_exceeded"
    assert error["param"] == "messages"
    assert "parameter=" not in error["message"]
    assert len(play.of(Dial)) == 1
    assert play.close.outcome is ChargeOutcome.REFUSED_BY_NODE


def test_silent_node_is_given_up_after_its_deadline():
    play = Play().opened()
    assert play.exchange.deadline_ns is not None
    play.do(play.exchange.expired(play.exchange.deadline_ns))
    assert play.of(HangUp)
    assert len(play.of(Dial)) == 2


def test_client_that_stops_reading_is_dropped_and_charged():
    play = Play().opened().head().body(event("a", 1))
    play.exchange.client_slow(play.tick())
    play.do(play.exchange.expired(play.exchange.deadline_ns))
    assert play.of(Drop)
    assert play.close.outcome is ChargeOutcome.CLIENT_GONE


def test_garbage_from_the_node_is_its_failure():
    play = Play().opened().head().body(event("a", 1), b'data: {"usage" nonsense\n\n').closed()
    assert play.close.outcome is ChargeOutcome.NODE_ERROR
    assert b'"finish_reason":"error"' in play.sent


def test_answer_without_a_token_is_free():
    empty = b'data: {"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":0}}\n\n'
    play = Play().opened().head().body(event("", 0), empty, DONE).closed()
    assert play.close.outcome is ChargeOutcome.EMPTY
    assert play.close.usage is None


def test_stream_without_usage_is_estimated_and_says_so():
    play = Play(engine="openai").opened().head()
    finish = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
    play.body(event("abc", None), finish, DONE).closed()
    assert play.close.usage == Usage(prompt_tokens=5, completion_tokens=3)
    assert play.close.usage_source is UsageSource.ESTIMATED


def test_stream_that_ends_without_done_after_its_usage_is_whole():
    play = Play().opened().head().body(event("a", 3), CLOSING).node_end().closed()
    assert play.close.outcome is ChargeOutcome.COMPLETED
    assert play.sent.endswith(DONE)


def test_embeddings_are_charged_for_their_prompt():
    play = Play(endpoint=Endpoint.EMBEDDINGS).opened().head()
    play.body(b'{"data":[],"usage":{"prompt_tokens":4,"total_tokens":4}}').node_end().closed()
    assert play.close.usage == Usage(prompt_tokens=4)
    assert play.close.outcome is ChargeOutcome.COMPLETED


def test_progress_is_noted_densely_at_first():
    play = Play().opened().head()
    for count in range(1, 130):
        play.body(event("x", count))
    noted = [a.row for a in play.of(Record) if isinstance(a.row, ChargeProgress)]
    assert [row.usage.completion_tokens for row in noted] == [1, 2, 4, 8, 16, 32, 64, 128]


@pytest.mark.parametrize("when", ["opening", "closing"])
def test_nothing_is_served_that_cannot_be_recorded(when):
    play = Play(stream=False)
    if when == "closing":
        play.opened().head().body(ANSWER).node_end()
    play.do(play.exchange.durable(OSError("disk full"), play.tick()))
    (respond,) = play.of(Respond)
    assert respond.status == 429
    assert play.exchange.state is State.ENDED
    assert play.in_flight == 0
    assert play.of(HangUp)


def test_stream_of_nothing_that_cannot_be_recorded_is_refused_with_a_head():
    play = Play().opened().head().body(DONE)
    play.do(play.exchange.durable(OSError("disk full"), play.tick()))
    (respond,) = play.of(Respond)
    assert (respond.status, play.of(Send)) == (429, [])

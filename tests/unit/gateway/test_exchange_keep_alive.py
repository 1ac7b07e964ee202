"""What an exchange says while its node is silent, and what it says when that fails."""

from __future__ import annotations

import json

from exchange_play import CLOSING, DONE, KEEP_ALIVE, Play, event

from gateway.exchange.actions import Dial, End, Respond, Send
from metering.charge import ChargeOutcome
from metering.usage import Usage
from router.policy import learned_policy
from router.types import Termination


def test_a_silent_node_is_bridged_by_comments_until_its_first_event_and_between_events():
    play = Play().opened().silence().silence()
    assert [type(action) for action in play.actions[-3:]] == [Respond, Send, Send]
    assert play.sent == 2 * KEEP_ALIVE
    play.head().silence().body(event("a", 1)).silence(0.5).body(event("b", 2)).silence(0.6)
    assert play.sent == 3 * KEEP_ALIVE + event("a", None) + event("b", None), "it was not silent"
    play.silence().body(CLOSING + DONE).closed().silence()
    assert play.sent.endswith(event("b", None) + KEEP_ALIVE + DONE)
    assert len(play.of(Respond)) == 1
    assert play.close.usage == Usage(prompt_tokens=7, completion_tokens=3)


def test_no_comment_before_the_opening_row_is_durable_nor_to_who_does_not_read_or_stream():
    assert not Play().silence().of(Respond)
    play = Play().opened().head().body(event("a", 1))
    play.exchange.client_slow(play.now_ns)
    assert play.silence().sent == event("a", None)
    play.exchange.client_ready(play.now_ns)
    assert play.silence().sent == event("a", None) + KEEP_ALIVE
    assert not Play(stream=False).silence().of(Respond)


def test_another_node_may_still_answer_after_a_comment():
    play = Play().opened().silence().failed(Termination.BROKEN)
    assert len(play.of(Dial)) == 2
    play.head().body(event("a", 3), CLOSING, DONE).closed()
    assert play.sent == KEEP_ALIVE + event("a", None) + DONE
    assert len(play.of(Respond)) == 1


def test_a_failure_after_a_comment_is_told_in_the_stream_and_free():
    play = Play(nodes=1).opened().silence().failed().closed()
    assert [answer.status for answer in play.of(Respond)] == [200]
    told = json.loads(play.sent.removeprefix(KEEP_ALIVE + b"data: "))
    assert told["error"]["code"] == 429
    assert told["choices"][0]["finish_reason"] == "error"
    assert play.close.usage is None
    assert play.of(End)


def test_a_charge_that_cannot_be_closed_after_a_comment_is_told_in_the_stream():
    play = Play().opened().silence().head().body(event("a", 3), CLOSING + DONE)
    play.do(play.exchange.durable(OSError("disk full"), play.tick()))
    assert [answer.status for answer in play.of(Respond)] == [200]
    assert b'"finish_reason":"error"' in play.sent
    assert DONE not in play.sent


def test_a_broken_stream_is_free_for_a_key_whose_users_do_not_pay_for_errors():
    play = Play()
    play.exchange.question.usage_always = True
    play.opened().head().body(event("a", 1)).failed(Termination.BROKEN).closed()
    assert play.close.outcome is ChargeOutcome.NODE_BROKEN
    assert play.close.usage is None
    assert b'"finish_reason":"error"' in play.sent


def test_a_node_is_less_of_one_while_a_stream_of_it_is_silent() -> None:
    play = Play(nodes=1, policy=learned_policy()).opened().head()

    def standing() -> float:
        (view,) = play.router.nodes(play.now_ns)
        return view.standing

    play.silence()
    assert standing() == 1.0, "it computes the prompt"
    play.body(event("a", 1)).silence()
    assert standing() == 0.5
    play.silence()
    assert standing() == 0.5, "it is one stream still"
    play.silence(0.6).body(event("b", 2)).silence(0.6)
    assert standing() == 1.0, "it goes on"
    play.silence().failed(Termination.BROKEN)
    assert standing() == 1.0, "it is over"

"""A request that was admitted while no node served its model."""

from __future__ import annotations

import json

from exchange_play import ANSWER, CLOSING, DONE, KEEP_ALIVE, Play, event

from gateway.exchange.actions import Dial, Drop, End, Record, Respond
from gateway.exchange.state import State
from metering.charge import ChargeOutcome
from metering.usage import Usage


def waiting(*, stream: bool = True) -> Play:
    return Play(nodes=0, stream=stream, wait_s=10)


def test_a_stream_is_told_that_we_wait_and_goes_on_as_any_other():
    play = waiting().opened().sweep(0.3).sweep(0.3).sweep(0.6)
    assert play.sent == KEEP_ALIVE
    assert not play.of(Dial)
    play.list_nodes(1).sweep(0.3)
    (dial,) = play.of(Dial)
    assert dial.node.node_id == "n0"
    assert play.exchange.state is State.DIALLED
    play.head().body(event("a", 3), CLOSING, DONE).closed()
    assert play.sent == KEEP_ALIVE + event("a", None) + DONE
    assert len(play.of(Respond)) == 1
    assert play.close.usage == Usage(prompt_tokens=7, completion_tokens=3)
    assert play.close.node_id == "n0"
    assert play.exchange.attempts == 1
    assert play.in_flight == 0


def test_a_whole_answer_comes_in_silence():
    play = waiting(stream=False).sweep(3)
    assert not play.of(Respond)
    play.list_nodes(1).sweep(0.3)
    play.head().body(ANSWER).node_end().closed()
    (answer,) = play.of(Respond)
    assert answer.status == 200


def test_who_waited_long_enough_is_told_to_come_again_and_pays_nothing():
    play = waiting(stream=False)
    for _ in range(21):
        play.sweep(0.5)
    play.closed()
    (answer,) = play.of(Respond)
    assert answer.status == 429
    assert (b"retry-after", b"1") in answer.headers
    assert play.close.outcome is ChargeOutcome.NO_CAPACITY
    assert play.close.usage is None
    assert play.close.node_id is None
    assert play.close.supplier_id is None
    assert play.exchange.state is State.ENDED


def test_a_stream_that_heard_from_us_is_told_so_inside():
    play = waiting().opened()
    for _ in range(21):
        play.sweep(0.5)
    play.closed()
    last = play.sent.rpartition(KEEP_ALIVE)[2]
    assert json.loads(last.removeprefix(b"data: "))["error"]["code"] == 429
    assert play.of(End)


def test_a_client_that_leaves_ends_the_wait():
    play = waiting().opened().sweep(2)
    play.do(play.exchange.client_gone(play.tick()))
    assert play.close.outcome is ChargeOutcome.CLIENT_GONE
    assert play.close.usage is None
    play.list_nodes(1).sweep(5)
    assert not play.of(Dial)
    assert not play.of(Drop)


def test_nothing_leaves_before_the_opening_row_is_durable():
    play = waiting().sweep(5)
    assert play.of(Record)[0].awaited
    assert not play.of(Respond)
    play.list_nodes(1).sweep(0.5)
    play.head().body(event("a", 3))
    assert not play.of(Respond)
    assert play.opened().sent == event("a", None)


def test_a_node_that_fails_after_the_wait_is_replaced_as_ever():
    play = waiting().opened().list_nodes(2).sweep(0.3).failed()
    assert len(play.of(Dial)) == 2
    assert play.exchange.attempts == 2

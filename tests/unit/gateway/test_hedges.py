"""A second request for a first token that is late: when, how often, what becomes of the other."""

from __future__ import annotations

import random

import pytest
from exchange_play import CLOSING, DONE, SECOND, Play, event

from gateway.exchange.actions import Dial, DialRival, DropRival, End, HangUp, TakeRival
from gateway.exchange.failover import Failover
from gateway.exchange.hedges import CREDIT_MAX, SAMPLES_MIN, Hedges
from metering.charge import ChargeOutcome
from metering.usage import Usage
from router.types import Termination

MS = 1_000_000
PROMPT_TOKENS = 9


def known(percent_max: int = 100, ttft_ns: int = 10 * MS) -> Hedges:
    hedges = Hedges(percent_max)
    for _ in range(SAMPLES_MIN * 2):
        hedges.saw("m", PROMPT_TOKENS, ttft_ns)
    return hedges


def late(hedges: Hedges | None = None, **asked) -> Play:
    """A stream that is waited for long enough."""
    play = Play(failover=Failover(hedges=hedges or known()), **asked).opened().head()
    play.now_ns += SECOND
    play.do(play.exchange.hedge(play.now_ns))
    return play


def test_late_is_what_nearly_none_was_of_its_size_and_model():
    hedges, rng = Hedges(5), random.Random(1)
    for _ in range(5_000):
        hedges.saw("m", 100, rng.randrange(1, 101) * MS)
        hedges.saw("m", 5_000, rng.randrange(1, 101) * 10 * MS)
    assert hedges.late_after_ns("m", 70) == pytest.approx(95 * MS, rel=0.06)
    assert hedges.late_after_ns("m", 5_000) == pytest.approx(950 * MS, rel=0.06)
    assert hedges.late_after_ns("m", 1) is None
    assert hedges.late_after_ns("other", 100) is None
    for _ in range(5_000):
        hedges.saw("m", 100, 7 * MS)
    assert hedges.late_after_ns("m", 100) == pytest.approx(7 * MS, rel=0.06)


def test_few_samples_tell_nothing():
    hedges = Hedges(5)
    for _ in range(SAMPLES_MIN - 1):
        hedges.saw("m", 9, MS)
    assert hedges.late_after_ns("m", 9) is None


@pytest.mark.parametrize("percent", [1, 5, 50])
def test_streams_earn_second_requests_and_save_up_for_a_few(percent):
    hedges, taken = Hedges(percent), 0
    assert not hedges.take()
    for _ in range(10_000):
        hedges.begun()
        taken += hedges.take()
    assert taken == 100 * percent
    for _ in range(10_000):
        hedges.begun()
    assert sum(hedges.take() for _ in range(100)) == CREDIT_MAX // 100


def test_another_node_is_asked_the_same_and_the_first_to_speak_is_the_one():
    play = late()
    first, second = play.of(Dial)[0], play.of(DialRival)[0]
    assert second.node.node_id != first.node.node_id
    assert (second.path, second.body) == (first.path, first.body)
    assert play.in_flight == 2
    play.exchange.rival_head()
    play.exchange.rival_answers(play.tick())
    assert play.in_flight == 1
    play.body(event("a", 3), CLOSING + DONE).closed()
    assert play.sent.endswith(DONE)
    assert play.close.node_id == second.node.node_id
    assert play.close.usage == Usage(prompt_tokens=7, completion_tokens=3)
    assert play.in_flight == 0
    assert play.exchange.hedges == 1


def test_the_one_asked_beside_is_dropped_if_the_late_one_speaks():
    play = late().body(event("a", 1))
    assert play.of(DropRival)
    assert play.in_flight == 1
    assert not play.exchange.rival_answers(play.tick())  # it spoke before it was dropped
    play.body(event("b", 3), CLOSING + DONE).closed()
    assert play.close.node_id == play.of(Dial)[0].node.node_id
    assert play.of(End)
    assert play.in_flight == 0


def test_the_late_one_may_fail_while_the_other_is_asked():
    play = late().failed(Termination.BROKEN)
    assert play.of(TakeRival)
    play.head().body(event("a", 3), CLOSING + DONE).closed()
    assert play.sent.endswith(DONE)
    assert play.close.node_id == play.of(DialRival)[0].node.node_id
    assert play.in_flight == 0


def test_the_one_asked_beside_may_fail():
    play = late()
    play.exchange.rival_failed(Termination.CONNECT_ERROR, play.tick())
    assert play.in_flight == 1
    play.body(event("a", 3), CLOSING + DONE).closed()
    assert play.sent.endswith(DONE)
    assert play.in_flight == 0


def test_a_client_that_leaves_both_pays_nothing():
    play = late()
    play.do(play.exchange.client_gone(play.tick()))
    assert play.of(DropRival)
    assert play.of(HangUp)
    assert play.close.outcome is ChargeOutcome.CLIENT_GONE
    assert play.close.usage is None
    assert play.in_flight == 0


def test_a_disk_that_fails_ends_both():
    play = Play(failover=Failover(hedges=known())).head()
    play.now_ns += SECOND
    play.do(play.exchange.hedge(play.now_ns))
    play.do(play.exchange.durable(OSError("full"), play.tick()))
    assert play.of(DropRival)
    assert play.in_flight == 0


def test_nobody_is_asked_beside_who_need_not_be():
    begun = Play(failover=Failover(hedges=known())).opened().head().body(event("a", 1))
    assert begun.exchange.hedge(begun.tick()) == []
    alone = late(nodes=1)
    assert not alone.of(DialRival)
    poor = late(known(percent_max=1))
    assert not poor.of(DialRival)
    assert poor.in_flight == 1


def test_it_is_looked_for_when_it_is_late():
    play = Play(failover=Failover(hedges=known(ttft_ns=10 * MS)))
    assert play.exchange.hedge_at_ns - play.exchange.started_ns == pytest.approx(10 * MS, rel=0.03)
    without = Play()
    assert without.exchange.hedge_at_ns > 2**62

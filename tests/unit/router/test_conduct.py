"""What is remembered of nodes: failures in a row, what several gateways saw, who is gone."""

from __future__ import annotations

import pytest

from router.conduct import Conduct, Conducts, Terms
from router.reputation import BOUND, HALF_LIFE_NS, IN_A_ROW_NS, Evidence, Increment, Tier
from router.types import Termination

S = 10**9


def fail(conduct: Conduct, termination: Termination, now_ns: int, first_byte: bool = False) -> None:
    kind = conduct.failure(termination, first_byte, now_ns)
    if kind is not None:
        conduct.add(kind, now_ns)


def test_thirty_streams_that_end_at_once_are_one_failure():
    conduct = Conducts().of("n", "s")
    for _ in range(30):
        fail(conduct, Termination.BROKEN, S, True)
    assert conduct.fresh(S) == {Evidence.BROKEN: 1}


def test_failures_with_answers_between_them_all_count():
    conduct = Conducts().of("n", "s")
    for _ in range(5):
        conduct.served += 1
        fail(conduct, Termination.TIMEOUT, S, True)
    assert conduct.fresh(S) == {Evidence.STALLED: 5, Evidence.SERVED: 5}


def test_a_node_that_only_fails_is_counted_each_minute():
    conduct = Conducts().of("n", "s")
    for now_ns in range(0, 5 * IN_A_ROW_NS, S):
        fail(conduct, Termination.CONNECT_ERROR, now_ns)
    assert conduct.fresh(0) == {Evidence.CONNECT_ERROR: 5}


def test_a_timeout_before_the_first_byte_is_no_stall():
    conduct = Conducts().of("n", "s")
    fail(conduct, Termination.TIMEOUT, S, False)
    assert conduct.fresh(S) == {Evidence.TIMEOUT: 1}


@pytest.mark.parametrize(
    "termination", [Termination.NODE_ERROR, Termination.OVERLOADED, Termination.CLIENT_GONE]
)
def test_what_a_client_can_cause_is_held_against_nobody(termination):
    conducts = Conducts()
    conduct = conducts.of("n", "s")
    for now_ns in range(1_000):
        conduct.served += now_ns % 2
        fail(conduct, termination, now_ns * S, True)
    assert set(conduct.fresh(S)) == {Evidence.SERVED}
    assert conducts.judge(conduct, S).score > BOUND


def test_time_forgives():
    conducts = Conducts()
    conduct = conducts.of("n", "s")
    conduct.add(Evidence.FALSE_USAGE, 0)
    conducts.weigh(conduct, 0)
    assert conduct.score < BOUND
    assert conducts.refresh(3 * HALF_LIFE_NS) == [conduct]
    assert conduct.score > BOUND


def test_a_half_life_can_be_set_and_so_can_the_bound():
    conducts = Conducts(Terms(bound=0, half_life_ns=S))
    conduct = conducts.of("n", "s")
    conduct.add(Evidence.FALSE_USAGE, 0)
    assert conducts.judge(conduct, 0).tier is Tier.DOUBTFUL
    assert conducts.judge(conduct, 20 * S).tier is Tier.NEW


def test_a_lying_supplier_is_the_prior_of_its_new_nodes_and_of_no_others():
    conducts = Conducts()
    liar = conducts.of("liar", "s")
    for _ in range(3):
        liar.add(Evidence.FALSE_USAGE, 0)
    conducts.refresh(0)
    assert conducts.of("second", "s").score < BOUND < conducts.of("third", "t").score
    told = conducts.judge_supplier("s", 0)
    assert told is not None
    assert told.tier is Tier.BARRED
    assert conducts.judge_supplier("nobody", 0) is None


def test_what_is_held_against_a_node_is_no_prior_of_its_own():
    """Else it would count twice."""
    conducts = Conducts()
    conduct = conducts.of("n", "s")
    conduct.add(Evidence.COUNT_FAILED, 0)
    conducts.weigh(conduct, 0)
    before = conduct.score
    conducts.refresh(0)
    assert conduct.score == before
    assert not conduct.others


def test_a_supplier_is_forgiven_with_its_nodes():
    conducts = Conducts()
    conducts.of("liar", "s").add(Evidence.FALSE_USAGE, 0)
    second = conducts.of("second", "s")
    conducts.refresh(0)
    assert second.score < BOUND
    conducts.refresh(60 * HALF_LIFE_NS)
    conducts.refresh(60 * HALF_LIFE_NS)
    assert second.score == Conducts().of("x", "y").score


def test_a_supplier_whose_nodes_fail_no_more_than_others_is_no_worse_a_prior():
    conducts = Conducts()
    for number in range(20):
        conduct = conducts.of(f"n{number}", "s")
        conduct.served += 200
    conduct.add(Evidence.BROKEN, 0)
    conducts.refresh(0)
    assert conduct.score < conducts.of("n0", "s").score == conducts.of("new", "s").score


def test_a_node_of_another_supplier_begins_anew():
    conducts = Conducts()
    conducts.of("n", "s").add(Evidence.FALSE_USAGE, 0)
    assert conducts.of("n", "t").memory(0) == {}
    assert conducts.judge_supplier("s", 0) is None


def test_two_gateways_tell_each_other_and_count_nothing_twice():
    one, other = Conducts(), Conducts()
    for conducts, stalls in ((one, 2), (other, 1)):
        conduct = conducts.of("n", "s")
        for _ in range(stalls):
            conduct.served += 10
            conduct.add(Evidence.STALLED, 0)
    first, second = one.increments(0), other.increments(0)
    assert one.merge(second, 0) == {"n"} == other.merge(first, 0)
    for conducts in (one, other):
        memory = conducts.of("n", "s").memory(0)
        assert memory[Evidence.STALLED] == pytest.approx(3, rel=0.15)
        assert memory[Evidence.SERVED] == pytest.approx(30, rel=0.15)
        assert conducts.increments(0) == []


def test_increments_can_be_summed():
    one = Increment(node_id="n", supplier_id="s", kind=Evidence.SERVED, count=4)
    apart, at_once = Conducts(), Conducts()
    apart.merge([one, one], 0)
    at_once.merge([Increment(node_id="n", supplier_id="s", kind=Evidence.SERVED, count=8)], 0)
    assert apart.of("n", "s").memory(0) == at_once.of("n", "s").memory(0)


def test_what_came_while_the_rest_was_handed_on_stays():
    conduct = Conducts().of("n", "s")
    conduct.add(Evidence.BROKEN, 0)
    told = conduct.fresh(0)
    conduct.add(Evidence.BROKEN, 0)
    conduct.served += 1
    conduct.handed_on(told)
    assert conduct.fresh(0) == {Evidence.BROKEN: 1, Evidence.SERVED: 1}
    conduct.replace({Evidence.BROKEN: 7.0}, 0)
    assert conduct.memory(0)[Evidence.BROKEN] == pytest.approx(8, rel=0.02)

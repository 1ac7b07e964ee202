import random

import pytest
from msgspec import structs

from router.ejection import BACK_OFF_NS
from router.policy import Policy
from router.registry import Registry
from router.reputation import HALF_LIFE_NS, Evidence
from router.router import Lease, Router
from router.sessions import Sessions
from router.types import (
    Condition,
    NodeRecord,
    NodeState,
    NodeView,
    Reason,
    RequestFeatures,
    Termination,
)

SECOND = 1_000_000_000


def record(node_id: str, capacity: int = 4, **fields: object) -> NodeRecord:
    return NodeRecord(
        node_id=node_id,
        supplier_id="s",
        url="http://h",
        capacity=capacity,
        **{"model": "m"} | fields,
    )


def features(model: str = "m") -> RequestFeatures:
    return RequestFeatures(model=model, prompt_tokens=1, completion_tokens_max=1, stream=True)


class Bench:
    """A router over one source, with the calls that the tests repeat."""

    def __init__(self, *records: NodeRecord) -> None:
        self.registry = Registry()
        self.router = Router(self.registry, Policy(), random.Random(1))
        self.list(*records)

    def list(self, *records: NodeRecord) -> None:
        self.registry.update("test", records)

    def send(self, now_ns: int = 0) -> Lease:
        return self.router.start(self.router.choose(features(), now_ns))

    def reason(self, now_ns: int = 0) -> Reason:
        return self.router.choose(features(), now_ns).reason

    def view(self, node_id: str = "a", now_ns: int = 0) -> NodeView:
        return {view.node.node_id: view for view in self.router.nodes(now_ns)}[node_id]


def test_a_model_gets_its_own_nodes_only() -> None:
    bench = Bench(record("a"), record("b", model="other"))
    assert bench.router.choose(features(), 0).node_id == "a"
    assert bench.router.choose(features("other"), 0).node_id == "b"
    assert bench.router.choose(features("unknown"), 0).reason is Reason.NO_NODE


def test_capacity_is_never_exceeded_and_comes_back() -> None:
    bench = Bench(record("a", 2), record("b", 3))
    leases = [bench.send() for _ in range(5)]
    assert sorted(lease.node.node_id for lease in leases) == ["a", "a", "b", "b", "b"]
    assert bench.reason() is Reason.NO_CAPACITY
    leases[0].finish(Termination.COMPLETED, 1)
    assert bench.reason() is Reason.CHOSEN


def test_the_first_report_counts_and_no_other() -> None:
    bench = Bench(record("a"))
    lease = bench.send()
    assert bench.view().in_flight == 1
    assert lease.finish(Termination.COMPLETED, 1) is True
    assert lease.finish(Termination.CONNECT_ERROR, 1) is False
    assert bench.view() == NodeView(node=record("a"))


def test_what_was_tried_is_not_tried_again() -> None:
    bench = Bench(record("a"), record("b"))
    assert bench.router.choose(features(), 0, frozenset({"a"})).node_id == "b"
    both = bench.router.choose(features(), 0, frozenset({"a", "b"}))
    assert both.reason is Reason.EXCLUDED


def test_a_refused_decision_cannot_be_started() -> None:
    bench = Bench()
    with pytest.raises(ValueError, match="no_node"):
        bench.send()


def test_a_draining_node_finishes_what_it_has_and_gets_nothing_new() -> None:
    bench = Bench(record("a"))
    lease = bench.send()
    bench.list(record("a", state=NodeState.DRAINING))
    assert bench.reason() is Reason.DRAINING
    assert bench.view().in_flight == 1
    lease.finish(Termination.COMPLETED, 1)
    assert bench.view().in_flight == 0


def test_a_refused_connection_ejects_at_once_then_one_trial_decides() -> None:
    bench = Bench(record("a"))
    bench.send().finish(Termination.CONNECT_ERROR, 0)
    assert bench.reason(BACK_OFF_NS - 1) is Reason.EJECTED
    assert bench.router.choose(features(), 1).retry_after_ns == BACK_OFF_NS - 1

    trial = bench.send(BACK_OFF_NS)
    assert trial.trial
    assert bench.reason(BACK_OFF_NS) is Reason.EJECTED, "one trial at a time"
    trial.finish(Termination.CONNECT_ERROR, BACK_OFF_NS)
    assert bench.view().condition(3 * BACK_OFF_NS - 1) is Condition.EJECTED, "twice as long"

    bench.send(3 * BACK_OFF_NS).finish(Termination.COMPLETED, 4 * BACK_OFF_NS, ttft_ns=5)
    assert bench.view().condition(4 * BACK_OFF_NS) is Condition.READY
    assert not bench.send(4 * BACK_OFF_NS).trial


def test_a_trial_that_tells_nothing_leaves_room_for_another() -> None:
    bench = Bench(record("a"))
    bench.send().finish(Termination.CONNECT_ERROR, 0)
    bench.send(SECOND).finish(Termination.CLIENT_GONE, SECOND)
    assert bench.view().condition(SECOND) is Condition.HALF_OPEN
    assert bench.send(SECOND).trial


def test_two_that_were_chosen_at_once_make_one_trial() -> None:
    bench = Bench(record("a"))
    bench.send().finish(Termination.CONNECT_ERROR, 0)
    decisions = [bench.router.choose(features(), SECOND) for _ in range(2)]
    first, second = [bench.router.start(decision) for decision in decisions]
    assert (first.trial, second.trial) == (True, False)
    second.finish(Termination.COMPLETED, SECOND, ttft_ns=1)
    assert bench.view().condition(SECOND) is Condition.HALF_OPEN
    first.finish(Termination.COMPLETED, SECOND, ttft_ns=1)
    assert bench.view().condition(SECOND) is Condition.READY


def test_requests_that_fail_together_eject_once() -> None:
    bench = Bench(record("a"))
    for lease in [bench.send() for _ in range(4)]:
        lease.finish(Termination.CONNECT_ERROR, 0)
    assert bench.view().ejected_until_ns == BACK_OFF_NS


def test_a_node_may_go_while_it_runs_requests() -> None:
    bench = Bench(record("a"))
    lease = bench.send()
    bench.list()
    assert bench.reason() is Reason.NO_NODE
    assert lease.finish(Termination.BROKEN, 1)
    assert bench.router.nodes(1) == []


def test_a_node_may_go_between_choice_and_start() -> None:
    bench = Bench(record("a"))
    decision = bench.router.choose(features(), 0)
    bench.list()
    assert bench.reason() is Reason.NO_NODE
    lease = bench.router.start(decision)
    bench.list(record("a"))
    assert bench.view().in_flight == 1
    lease.finish(Termination.COMPLETED, 1)
    assert bench.view().in_flight == 0


def test_a_node_that_comes_back_is_the_same_node() -> None:
    bench = Bench(record("a"))
    running = bench.send()
    bench.send().finish(Termination.CONNECT_ERROR, 0)
    bench.list()
    assert bench.reason() is Reason.NO_NODE
    bench.list(record("a", capacity=9))
    assert bench.reason() is Reason.EJECTED
    assert bench.view() == NodeView(
        node=record("a", capacity=9), in_flight=1, ejections=1, ejected_until_ns=BACK_OFF_NS
    )
    running.finish(Termination.COMPLETED, 1)
    assert bench.view().in_flight == 0


def test_a_node_may_change_its_model() -> None:
    bench = Bench(record("a"), record("b"))
    lease = bench.router.start(bench.router.choose(features(), 0, frozenset({"b"})))
    bench.list(record("a", model="other"), record("b"))
    assert bench.router.choose(features("other"), 0).node_id == "a"
    lease.finish(Termination.COMPLETED, 1)
    assert [bench.view(i).in_flight for i in "ab"] == [0, 0]


def test_gone_nodes_are_forgotten_in_time() -> None:
    bench = Bench(*[record(f"replica-{number}") for number in range(100)])
    for _ in range(100):
        bench.send().finish(Termination.CONNECT_ERROR, 0)
    bench.list(record("new"))
    bench.router.nodes(SECOND)
    assert len(bench.router._known) == 101
    bench.list(record("newer"))
    bench.router.nodes(3_600 * SECOND)
    assert list(bench.router._known) == ["newer"]


def test_a_decision_stays_as_it_was() -> None:
    bench = Bench(*[record(str(number)) for number in range(6)])
    for _ in range(9):
        bench.send()
    decision = bench.router.choose(features(), 0)
    explained = bench.router.policy.explain(decision)
    for _ in range(9):
        bench.send()
    assert bench.router.policy.replay(decision) == decision
    assert bench.router.policy.explain(decision) == explained


def standings(bench: Bench) -> dict[str, float]:
    return {view.node.node_id: view.standing for view in bench.router.nodes(0)}


def test_a_node_that_was_caught_gets_less_and_below_the_bound_nothing() -> None:
    bench = Bench(record("liar"), record("honest"))
    bench.router.nodes(0)
    bench.router.report("liar", Evidence.COUNT_FAILED, 0)
    bench.router.report("nobody", Evidence.COUNT_FAILED, 0)
    assert 0.2 <= standings(bench)["liar"] < standings(bench)["honest"] == 1.0
    chosen = [bench.router.choose(features(), 0).node_id for _ in range(50)]
    assert set(chosen) == {"honest"}
    bench.router.report("liar", Evidence.FALSE_USAGE, 0)
    decision = bench.router.choose(features(), 0, frozenset({"honest"}))
    assert decision.reason is Reason.BARRED
    bench.router.refresh_reputations(10 * HALF_LIFE_NS)
    assert standings(bench) == {"liar": 1.0, "honest": 1.0}


def test_the_last_node_of_a_model_is_not_barred() -> None:
    bench = Bench(record("bad"), record("worse"))
    bench.router.nodes(0)
    for node_id, findings in (("bad", 1), ("worse", 3)):
        for _ in range(findings):
            bench.router.report(node_id, Evidence.FALSE_USAGE, 0)
    assert standings(bench) == {"bad": 0.2, "worse": 0.0}
    bench.list(record("bad"), record("worse"), record("good"))
    assert standings(bench) == {"bad": 0.0, "worse": 0.0, "good": 1.0}
    bench.list(record("worse"))
    assert standings(bench) == {"worse": 0.2}


def test_who_is_trusted_is_not_barred() -> None:
    trusted = structs.replace(record("own"), trusted=True)
    bench = Bench(trusted, record("other"))
    bench.router.nodes(0)
    for _ in range(3):
        bench.router.report("own", Evidence.FALSE_USAGE, 0)
    assert standings(bench) == {"own": 0.2, "other": 1.0}


def test_a_node_that_went_and_came_back_is_not_forgiven() -> None:
    bench = Bench(record("liar"), record("honest"))
    bench.router.nodes(0)
    bench.router.report("liar", Evidence.FALSE_USAGE, 0)
    bench.list(record("honest"))
    bench.router.nodes(3_600 * SECOND)
    bench.list(record("liar"), record("honest"))
    assert standings(bench) == {"liar": 0.0, "honest": 1.0}


def test_a_node_whose_conduct_was_forgotten_while_it_was_away_has_one_again() -> None:
    bench = Bench(record("n"))
    lease = bench.send()
    bench.list()
    bench.router.nodes(0)
    bench.router.conducts.forget("n")
    bench.list(structs.replace(record("n"), supplier_id="t"))
    assert standings(bench) == {"n": 1.0}
    assert bench.router.score("n") > 950
    lease.finish(Termination.BROKEN, 0)
    assert bench.router.conducts.of("n", "t").memory(0)


def test_stalls_between_answers_bar_a_node() -> None:
    bench = Bench(record("n"), record("other"))
    for number in range(4):
        for termination in (Termination.COMPLETED, Termination.TIMEOUT):
            decision = bench.router.choose(features(), number, frozenset({"other"}))
            if decision.node is not None:
                bench.router.start(decision).finish(termination, number, 1)
    assert standings(bench) == {"n": 0.0, "other": 1.0}


def sticky(key: int) -> RequestFeatures:
    return structs.replace(features(), sticky_key=key)


def test_a_session_stays_on_its_node_until_that_is_busier_by_a_quarter() -> None:
    bench = Bench(record("a", capacity=8), record("b", capacity=8), record("c", capacity=8))
    first = bench.router.choose(sticky(1), 0)
    bench.router.start(first)
    for _ in range(2):
        again = bench.router.choose(sticky(1), 0)
        assert again.node_id == first.node_id
        bench.router.start(again)
    moved = bench.router.choose(sticky(1), 0)
    assert moved.node_id != first.node_id, "3 of 8 in use here, none there"
    bench.router.start(moved)
    assert bench.router.choose(sticky(1), 0).node_id == moved.node_id, "it lives there now"


def test_a_session_leaves_a_node_that_is_gone_full_or_tried() -> None:
    bench = Bench(record("a", capacity=1), record("b", capacity=1))
    decision = bench.router.choose(sticky(1), 0)
    lease = bench.router.start(decision)
    other = bench.router.choose(sticky(1), 0)
    assert other.node_id != decision.node_id
    lease.finish(Termination.COMPLETED, 0)
    excluded = frozenset({decision.node_id or ""})
    assert bench.router.choose(sticky(1), 0, excluded).node_id == other.node_id
    bench.list(*(each for each in (record("a"), record("b")) if each.node_id != decision.node_id))
    assert bench.router.choose(sticky(1), 0).node_id == other.node_id


def test_only_so_many_sessions_are_remembered_and_the_latest_ones() -> None:
    sessions = Sessions(2)
    for key in (1, 2, 1, 3):
        sessions.served(key, f"node-{key}")
    assert [sessions.node_of(key) for key in (1, 2, 3)] == ["node-1", None, "node-3"]


def test_of_many_full_nodes_the_refusal_counts_each_and_the_one_with_room_is_found() -> None:
    bench = Bench(
        *(record(f"full-{number}", capacity=1) for number in range(20)),
        record("draining", state=NodeState.DRAINING),
    )
    leases = [bench.send() for _ in range(20)]
    refusal = bench.router.choose(features(), 0)
    assert refusal.refused == {Reason.DRAINING: 1, Reason.NO_CAPACITY: 20}
    leases[7].finish(Termination.COMPLETED, 0, 1)
    assert bench.router.choose(features(), 0).node_id == leases[7].node.node_id

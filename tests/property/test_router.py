"""The router under any nodes, any order of calls and any ends."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from msgspec import structs

from router.picker import DRAW_BITS
from router.policy import Policy
from router.registry import Registry
from router.router import Lease, Router
from router.types import (
    Ask,
    NodeRecord,
    NodeState,
    NodeView,
    Reason,
    RequestFeatures,
    Termination,
)

FEATURES = RequestFeatures(model="m", prompt_tokens=1, completion_tokens_max=1, stream=True)
NOW = 100


def record(node_id: str, capacity: int, state: NodeState = NodeState.READY) -> NodeRecord:
    return NodeRecord(
        node_id=node_id, supplier_id="s", url="http://h", model="m", capacity=capacity, state=state
    )


@st.composite
def views(draw: st.DrawFn, at_least: int = 0) -> tuple[NodeView, ...]:
    count = draw(st.integers(at_least, 12))
    made = []
    for number in range(count):
        ejections = draw(st.integers(0, 2))
        made.append(
            NodeView(
                node=record(
                    f"n{number}", draw(st.integers(1, 3)), draw(st.sampled_from(NodeState))
                ),
                in_flight=draw(st.integers(0, 3)),
                ejections=ejections,
                ejected_until_ns=draw(st.integers(NOW - 1, NOW + 1)) if ejections else 0,
                on_trial=bool(ejections) and draw(st.booleans()),
            )
        )
    return tuple(made)


def may_be_picked(view: NodeView, excluded: frozenset[str]) -> bool:
    """The rules once more, in one line each."""
    back = not view.ejections or (view.ejected_until_ns <= NOW and not view.on_trial)
    free = view.in_flight < view.node.capacity
    ready = view.node.state is NodeState.READY
    return back and free and ready and view.node.node_id not in excluded


@given(views(), st.frozensets(st.sampled_from([f"n{i}" for i in range(12)])), st.integers())
def test_one_of_the_allowed_is_picked_if_there_is_one(
    seen: tuple[NodeView, ...], excluded: frozenset[str], seed: int
) -> None:
    policy = Policy()
    decision = policy.choose(
        Ask(FEATURES, NOW, excluded), seen, random.Random(seed).getrandbits(DRAW_BITS)
    )
    allowed = {view.node.node_id for view in seen if may_be_picked(view, excluded)}
    if allowed:
        assert decision.node_id in allowed
        assert decision.reason is Reason.CHOSEN
    else:
        assert decision.node is None
        assert sum(decision.refused.values()) == len(seen)
        assert decision.retry_after_ns > 0
    assert policy.replay(decision) == decision
    chosen = [verdict.node_id for verdict in policy.explain(decision) if verdict.chosen]
    assert chosen == ([decision.node_id] if decision.node else [])


@settings(max_examples=20, deadline=None)
@given(views(at_least=2), st.randoms(use_true_random=False))
def test_the_order_of_the_nodes_does_not_matter(
    seen: tuple[NodeView, ...], shuffler: random.Random
) -> None:
    draws = 800
    shuffled = list(seen)
    shuffler.shuffle(shuffled)

    def shares(order: tuple[NodeView, ...]) -> dict[str | None, float]:
        rng, policy = random.Random(5), Policy()
        picks = [
            policy.choose(Ask(FEATURES, NOW), order, rng.getrandbits(DRAW_BITS)).node_id
            for _ in range(draws)
        ]
        return {node_id: picks.count(node_id) / draws for node_id in set(picks)}

    one, other = shares(seen), shares(tuple(shuffled))
    # Two samples of 800 differ by more than 0.125 (five standard errors) once in a million.
    assert all(abs(one.get(i, 0) - other.get(i, 0)) < 0.125 for i in one.keys() | other.keys())


class Interleavings(RuleBasedStateMachine):
    """Starts, ends (some reported twice) and listings in any order, against a plain count."""

    def __init__(self) -> None:
        super().__init__()
        self.registry = Registry()
        self.router = Router(self.registry, Policy(), random.Random(0))
        self.open: list[Lease] = []
        self.now_ns = 0

    @rule(
        capacities=st.dictionaries(st.sampled_from("abcdefgh"), st.integers(1, 3)),
        draining=st.frozensets(st.sampled_from("abcd")),
    )
    def relist(self, capacities: dict[str, int], draining: frozenset[str]) -> None:
        state = {True: NodeState.DRAINING, False: NodeState.READY}
        self.registry.update(
            "test", [record(i, c, state[i in draining]) for i, c in capacities.items()]
        )

    @rule(
        excluded=st.frozensets(st.sampled_from("abcd"), max_size=2),
        sticky_key=st.none() | st.integers(0, 2),
    )
    def send(self, excluded: frozenset[str], sticky_key: int | None) -> None:
        features = structs.replace(FEATURES, sticky_key=sticky_key)
        decision = self.router.choose(features, self.now_ns, excluded)
        assert self.router.policy.replay(decision) == decision, "the short cuts change nothing"
        if decision.node is not None:
            listed = self.registry.nodes[decision.node.node_id]
            assert listed.state is NodeState.READY
            assert listed.node_id not in excluded
            self.open.append(self.router.start(decision))
            assert self.running(listed.node_id) <= listed.capacity

    @precondition(lambda self: self.open)
    @rule(data=st.data(), termination=st.sampled_from(Termination), answered=st.booleans())
    def end(self, data: st.DataObject, termination: Termination, answered: bool) -> None:
        lease = self.open.pop(data.draw(st.integers(0, len(self.open) - 1)))
        ttft_ns = 1 if answered else None
        assert lease.finish(termination, self.now_ns, ttft_ns)
        assert not lease.finish(termination, self.now_ns, ttft_ns)

    @rule(elapsed_ns=st.integers(1, 10**12))
    def wait(self, elapsed_ns: int) -> None:
        self.now_ns += elapsed_ns

    def running(self, node_id: str) -> int:
        return sum(lease.node.node_id == node_id for lease in self.open)

    @invariant()
    def counts_are_those_of_the_open_leases(self) -> None:
        for view in self.router.nodes(self.now_ns):
            assert view.in_flight == self.running(view.node.node_id)

    def teardown(self) -> None:
        for lease in self.open:
            lease.finish(Termination.COMPLETED, self.now_ns)
        self.open.clear()
        self.registry.update("test", [record(i, 1) for i in "abcd"])
        assert [view.in_flight for view in self.router.nodes(self.now_ns)] == [0, 0, 0, 0]


TestInterleavings = Interleavings.TestCase
TestInterleavings.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)

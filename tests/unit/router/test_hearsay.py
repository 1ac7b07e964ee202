"""What gateways make of each other's words: nothing twice, nothing for ever, nothing told on."""

import random

from msgspec import msgpack, structs

from router.hearsay import ANSWERS_NS, Told
from router.known_node import WARM
from router.policy import learned_policy
from router.registry import Registry
from router.router import Lease, Router
from router.types import Load, NodeRecord, NodeView, Reason, RequestFeatures, Termination

FEATURES = RequestFeatures(model="m", prompt_tokens=1_000, completion_tokens_max=50, stream=True)
SECOND = 1_000_000_000
LATER = 1_000 * SECOND
"""Another machine's clock."""


class Gateway:
    def __init__(self, *node_ids: str, capacity: int = 8) -> None:
        registry = Registry()
        registry.update(
            "test",
            [
                NodeRecord(
                    node_id=node_id, supplier_id="s", url="http://h", model="m", capacity=capacity
                )
                for node_id in node_ids
            ],
        )
        self.router = Router(registry, learned_policy(), random.Random(1))
        self.router.nodes(0)
        for known in self.router._known.values():
            known.warm = WARM

    def send(self, now_ns: int = 0, node_id: str | None = None) -> Lease:
        others = frozenset(each for each in self.router._known if node_id and each != node_id)
        return self.router.start(self.router.choose(FEATURES, now_ns, others))

    def view(self, node_id: str = "a") -> NodeView:
        return {view.node.node_id: view for view in self.router.nodes(0)}[node_id]

    def learn(self, node_id: str, ttft_ns: int, *, requests: int, from_ns: int = 0) -> None:
        for number in range(requests):
            now_ns = from_ns + number * SECOND
            lease = self.send(now_ns, node_id)
            lease.first_token(now_ns + ttft_ns)
            lease.finish(Termination.COMPLETED, now_ns + ttft_ns + SECOND // 4, ttft_ns, 20)


def told(gateway: Gateway, now_ns: int = 0) -> Told:
    return msgpack.decode(msgpack.encode(gateway.router.tell(now_ns)), type=Told)


def test_what_another_has_there_counts_until_it_tells_otherwise() -> None:
    one, two = Gateway("a"), Gateway("a")
    leases = [one.send() for _ in range(6)]
    for _ in range(5):
        two.router.hear([("one", told(one))], LATER)
    beside = two.view().beside
    assert beside is not None
    assert (beside.in_flight, beside.pending_tokens) == (6, 6_000), "heard five times, counted once"
    ours = [two.send(LATER) for _ in range(2)]
    assert two.router.choose(FEATURES, LATER).reason is Reason.NO_CAPACITY
    for lease in leases[:5]:
        lease.finish(Termination.CLIENT_GONE, 1)
    two.router.hear([("one", told(one))], LATER)
    assert two.view().beside is not None
    assert two.view().beside.in_flight == 1
    two.router.hear([], LATER)
    assert two.view().beside is None, "it left, or died"
    assert len(ours) == 2


def test_what_was_heard_is_not_told_on() -> None:
    one, two, three = Gateway("a"), Gateway("a"), Gateway("a")
    one.learn("a", 700_000_000, requests=20)
    lease = one.send(20 * SECOND)
    two.router.hear([("one", told(one, 20 * SECOND))], LATER)
    three.router.hear([("one", told(one, 20 * SECOND)), ("two", told(two, LATER))], LATER)
    assert two.router.tell(LATER).nodes == []
    assert three.view().beside is not None
    assert three.view().beside.in_flight == 1
    assert not lease.finished


def test_requests_of_others_are_no_strangers_when_the_node_counts_them_too() -> None:
    one, two = Gateway("a"), Gateway("a")
    leases = [one.send() for _ in range(3)]
    two.router.hear([("one", told(one))], 0)
    two.router.report_load("a", Load(waiting=0, running=5, kv_use=0.0))
    assert two.view().beside is not None
    assert two.view().beside.in_flight == 5, "three of the other gateway, two of somebody else"
    assert len(leases) == 3


def test_who_begins_goes_by_what_others_measured_until_it_knows_itself() -> None:
    one, two = Gateway("a", "b"), Gateway("a", "b")
    one.learn("a", 900_000_000, requests=40)
    one.learn("b", 100_000_000, requests=40, from_ns=50 * SECOND)
    words = [("one", told(one, 100 * SECOND))]
    two.router.hear(words, LATER)
    known = two.router._known["a"].pace
    assert known.samples == 0, "no sample of its own"
    told_ns = known.prefill.base + 1_000 * known.prefill.slope
    assert 0.7e9 < told_ns < 1.1e9
    assert {two.router.choose(FEATURES, LATER + n).node_id for n in range(9)} == {"b"}
    two.learn("a", 50_000_000, requests=40, from_ns=LATER)
    own = two.router._known["a"].pace
    two.router.hear(words, LATER + 40 * SECOND)
    assert two.router._known["a"].pace == own, "it knows better now"


def test_a_node_that_others_see_slow_is_slow_here_and_not_told_on() -> None:
    one, two = Gateway("a", "b"), Gateway("a", "b")
    for gateway in (one, two):
        for node_id in ("a", "b"):
            gateway.learn(node_id, 100_000_000, requests=20)
    one.learn("a", 4 * SECOND, requests=3, from_ns=30 * SECOND)
    now_ns = 40 * SECOND
    assert one.router._known["a"].pace.slowdown > 3
    two.router.hear([("one", told(one, now_ns))], now_ns)
    assert two.router._known["a"].pace.slowdown_at(now_ns) > 2
    (of_a,) = [each for each in two.router.tell(now_ns).nodes if each.node_id == "a"]
    assert of_a.slowdown == 1.0
    two.learn("a", 100_000_000, requests=30, from_ns=now_ns)
    two.router.hear([("one", told(one, now_ns))], now_ns + 30 * SECOND)
    assert two.router._known["a"].pace.slowdown_at(now_ns + 30 * SECOND) < 1.2


def test_an_ejection_is_heeded_once_then_our_own_trial_decides() -> None:
    one, two = Gateway("a", "b", "c"), Gateway("a", "b", "c")
    one.send(0, "a").finish(Termination.CONNECT_ERROR, 0)
    words = [("one", told(one))]
    two.router.hear(words, LATER)
    assert two.view().ejections == 1
    assert two.router.tell(LATER).ejected == set(), "it has not seen that itself"
    trial = two.send(LATER + SECOND, "a")
    assert trial.trial
    trial.finish(Termination.COMPLETED, LATER + SECOND, 1)
    two.router.hear(words, LATER + 2 * SECOND + ANSWERS_NS)
    assert two.view().ejections == 0, "the same words once more"
    one.send(SECOND, "a").finish(Termination.CONNECT_ERROR, SECOND)
    two.router.hear([("one", told(one, SECOND))], LATER + 5 * SECOND)
    assert two.view().ejections == 1, "it failed again there"


def test_a_node_that_answers_us_is_not_gone() -> None:
    one, two = Gateway("a", "b"), Gateway("a", "b")
    one.send(0, "a").finish(Termination.CONNECT_ERROR, 0)
    lease = two.send(LATER, "a")
    lease.first_token(LATER)
    two.router.hear([("one", told(one))], LATER + ANSWERS_NS // 2)
    assert two.view().ejections == 0


def test_who_ejects_most_nodes_is_cut_off_itself() -> None:
    one, two = Gateway("a", "b", "c"), Gateway("a", "b", "c")
    for node_id in ("a", "b"):
        one.send(0, node_id).finish(Termination.CONNECT_ERROR, 0)
    two.router.hear([("one", told(one))], LATER)
    assert [view.ejections for view in two.router.nodes(0)] == [0, 0, 0]


def test_a_node_that_is_not_known_here_is_none_of_ours() -> None:
    one, two = Gateway("a", "x"), Gateway("a")
    lease = one.send(0, "x")
    two.router.hear([("one", told(one))], LATER)
    assert two.router.nodes(0) == [structs.replace(two.view(), beside=None)]
    assert not lease.finished

"""Who is spared while others have room: crowded suppliers, nodes that are new."""

import random

import pytest

from router.diversity import HALF_NS, Traffic
from router.known_node import WARM
from router.policy import Policy, learned_policy
from router.registry import Registry
from router.router import Router
from router.types import Load, NodeRecord, Reason, RequestFeatures, Termination

FEATURES = RequestFeatures(model="m", prompt_tokens=100, completion_tokens_max=50, stream=True)
SECOND = 1_000_000_000


def node(node_id: str, supplier_id: str, capacity: int = 64) -> NodeRecord:
    return NodeRecord(
        node_id=node_id, supplier_id=supplier_id, url="http://h", model="m", capacity=capacity
    )


def router_of(policy: Policy, *records: NodeRecord) -> Router:
    registry = Registry()
    registry.update("test", records)
    return Router(registry, policy, random.Random(1))


def serve(router: Router, requests: int, *, from_ns: int = 0) -> list[str]:
    """One request after the other; who served it."""
    served = []
    for number in range(requests):
        now_ns = from_ns + number * SECOND // 10
        decision = router.choose(FEATURES, now_ns)
        assert router.policy.replay(decision).node_id == decision.node_id
        lease = router.start(decision)
        lease.first_token(now_ns + 20_000_000)
        lease.finish(Termination.COMPLETED, now_ns + 30_000_000, 20_000_000, 20)
        served.append(decision.node_id or "")
    return served


def warmed(router: Router) -> Router:
    router.nodes(0)
    for known in router._known.values():
        known.warm = WARM
    return router


@pytest.mark.parametrize("learns", [False, True])
def test_no_supplier_gets_more_than_its_share_while_others_have_room(learns: bool) -> None:
    policy = learned_policy(None, 0.4) if learns else Policy(supplier_share_max=0.4)
    big = [node(f"big{number}", "big") for number in range(8)]
    router = warmed(router_of(policy, *big, node("a", "a"), node("b", "b")))
    served = serve(router, 400)
    share = sum(each.startswith("big") for each in served[100:]) / 300
    assert share < 0.42
    unbound = warmed(router_of(learned_policy() if learns else Policy(), *big, node("a", "a")))
    assert sum(each.startswith("big") for each in serve(unbound, 400)) > 200


def test_a_share_binds_only_while_others_have_room() -> None:
    router = warmed(
        router_of(Policy(supplier_share_max=0.4), node("big", "big"), node("a", "a", 1))
    )
    first = [router.start(router.choose(FEATURES, 0)) for _ in range(10)]
    assert sorted({lease.node.node_id for lease in first}) == ["a", "big"]
    decision = router.choose(FEATURES, 0)
    assert decision.node_id == "big"
    assert decision.ask.crowded == {"big"}
    shown = {each.node_id: each.left_out for each in router.policy.explain(decision)}
    assert shown == {"big": None, "a": Reason.NO_CAPACITY}


def test_a_decision_says_who_was_spared() -> None:
    router = warmed(router_of(Policy(supplier_share_max=0.6), node("big", "big"), node("a", "a")))
    for _ in range(3):
        router.start(router.choose(FEATURES, 0, frozenset({"a"})))
    decision = router.choose(FEATURES, 0)
    assert decision.node_id == "a"
    shown = {each.node_id: each.left_out for each in router.policy.explain(decision)}
    assert shown == {"big": Reason.SUPPLIER_SHARE, "a": None}


def test_traffic_counts_less_as_it_grows_old() -> None:
    traffic = Traffic(0.5)
    traffic.sent("a", 1000, 0)
    assert traffic.crowded == {"a"}
    traffic.sent("b", 400, 0)
    assert traffic.crowded == {"a"}
    traffic.sent("b", 200, 2 * HALF_NS)
    assert traffic.crowded == {"b"}, "250 of a's are left, 300 of b's"
    traffic.sent("a", 100, 2 * HALF_NS)
    assert traffic.crowded == {"a"}
    traffic.sent("b", 1, 1000 * HALF_NS)
    assert traffic.crowded == {"b"}


@pytest.mark.parametrize("policy", [Policy(), learned_policy()])
def test_a_new_node_gets_more_as_it_answers(policy: Policy) -> None:
    old = [node(f"old{number}", "s") for number in range(3)]
    registry = Registry()
    registry.update("test", old)
    router = warmed(Router(registry, policy, random.Random(1)))
    registry.update("test", [*old, node("new", "s")])
    leases = [router.start(router.choose(FEATURES, 0)) for _ in range(30)]
    on_new = [lease for lease in leases if lease.node.node_id == "new"]
    assert len(on_new) == 4
    for lease in on_new:
        lease.first_token(1)
        lease.finish(Termination.COMPLETED, 2, 1, 20)
    assert router._known["new"].warm == WARM
    more = [router.start(router.choose(FEATURES, 3)) for _ in range(60)]
    assert sum(lease.node.node_id == "new" for lease in more) > 4


def test_new_nodes_alone_are_not_spared() -> None:
    router = router_of(Policy(), node("a", "s"), node("b", "s"))
    for _ in range(128):
        router.start(router.choose(FEATURES, 0))
    assert router.choose(FEATURES, 0).reason is Reason.NO_CAPACITY


def test_a_node_that_was_ejected_warms_up_again() -> None:
    router = warmed(router_of(Policy(), node("a", "s")))
    router.start(router.choose(FEATURES, 0)).finish(Termination.CONNECT_ERROR, 0)
    assert router.choose(FEATURES, 0).reason is Reason.EJECTED
    trial = router.start(router.choose(FEATURES, SECOND))
    trial.finish(Termination.COMPLETED, SECOND + 1, 1)
    assert router._known["a"].warm == 0


def test_a_node_that_nobody_asked_is_forecast_by_its_distance() -> None:
    router = router_of(learned_policy(), node("far", "s"), node("near", "s"))
    for node_id, rtt_ns in (("far", 250_000_000), ("near", 5_000_000)):
        router.nodes(0)
        router.report_load(node_id, Load(waiting=0, running=0, kv_use=0.0, rtt_ns=rtt_ns))
    assert {router.choose(FEATURES, number).node_id for number in range(20)} == {"near"}
    known = router._known["near"]
    known._reached(1_005_000_000)
    assert known.rtt_ns == 130_000_000, "one slow round trip is no distance"
    known._reached(4_000_000)
    assert known.rtt_ns == 4_000_000

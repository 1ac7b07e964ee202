"""What runs on nodes that this gateway did not send there."""

import random

import pytest
from msgspec import structs

from router.known_node import WARM
from router.policy import Policy, learned_policy
from router.registry import Registry
from router.router import Router
from router.types import Load, NodeRecord, NodeView, Reason, RequestFeatures, Termination

FEATURES = RequestFeatures(model="m", prompt_tokens=100, completion_tokens_max=50, stream=True)
IDLE = Load(waiting=0, running=0, kv_use=0.0)


def node(node_id: str, capacity: int = 8) -> NodeRecord:
    return NodeRecord(
        node_id=node_id, supplier_id="s", url="http://h", model="m", capacity=capacity
    )


def router_of(policy: Policy, *records: NodeRecord) -> Router:
    registry = Registry()
    registry.update("test", records)
    router = Router(registry, policy, random.Random(1))
    router.nodes(0)
    for known in router._known.values():
        known.warm = WARM
    return router


def view(router: Router, node_id: str = "a") -> NodeView:
    return {view.node.node_id: view for view in router.nodes(0)}[node_id]


@pytest.mark.parametrize("policy", [Policy(), learned_policy()])
def test_what_others_run_there_counts_against_capacity(policy: Policy) -> None:
    router = router_of(policy, node("a"))
    router.report_load("a", Load(waiting=2, running=5, kv_use=0.0))
    first = router.start(router.choose(FEATURES, 0))
    full = router.choose(FEATURES, 0)
    assert full.reason is Reason.NO_CAPACITY
    assert policy.replay(full) == full
    assert router.is_full
    first.finish(Termination.COMPLETED, 1, 1, 20)
    assert router.choose(FEATURES, 1).node_id == "a"
    router.report_load("a", None)
    assert view(router).beside is None
    assert not router.is_full


def test_our_own_requests_are_no_strangers() -> None:
    router = router_of(learned_policy(), node("a"))
    leases = [router.start(router.choose(FEATURES, 0)) for _ in range(3)]
    router.report_load("a", Load(waiting=1, running=2, kv_use=0.0))
    assert view(router).beside is None
    router.report_load("a", Load(waiting=1, running=4, kv_use=0.0))
    assert view(router).beside is not None
    assert view(router).beside.in_flight == 2
    assert len(leases) == 3


def test_who_is_busy_with_others_is_avoided() -> None:
    router = router_of(learned_policy(), node("a", 64), node("b", 64))
    router.report_load("a", Load(waiting=9, running=20, kv_use=0.0))
    router.report_load("b", IDLE)
    assert {router.choose(FEATURES, number).node_id for number in range(30)} == {"b"}
    said = structs.replace(IDLE, running=3)
    for node_id in ("a", "b"):
        router.report_load(node_id, said)
    assert {router.choose(FEATURES, number).node_id for number in range(30)} == {"a", "b"}


def test_a_node_that_says_it_is_idle_is_believed_no_more_than_our_own_count() -> None:
    router = router_of(learned_policy(), node("a", 2))
    leases = [router.start(router.choose(FEATURES, 0)) for _ in range(2)]
    router.report_load("a", IDLE)
    assert router.choose(FEATURES, 0).reason is Reason.NO_CAPACITY
    assert len(leases) == 2

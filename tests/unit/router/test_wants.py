import random

import pytest
from msgspec import structs

from router.fleet import Fleet
from router.policy import Policy, learned_policy
from router.registry import Registry
from router.router import Router
from router.types import Decision, NodeRecord, Reason, RequestFeatures
from router.wants import PPM, Sort, Wants

FEATURES = RequestFeatures(model="m", prompt_tokens=100, completion_tokens_max=50, stream=True)
NONE: frozenset[str] = frozenset()


def node(node_id: str, **fields: object) -> NodeRecord:
    known = {"supplier_id": "alice", "url": "http://h", "model": "m", "capacity": 4}
    return NodeRecord(node_id=node_id, **known | fields)


NODES = (
    node("eu", region="eu", tier=2),
    node("us", region="us", tier=1, price_ppm=500_000, supplier_id="bob"),
    node("ap", region="ap", tier=0, price_ppm=250_000, supplier_id="carol"),
)
POLICIES = pytest.mark.parametrize("policy", [Policy(), learned_policy()])


def router_of(policy: Policy, *records: NodeRecord) -> Router:
    registry = Registry()
    registry.update("test", records)
    return Router(registry, policy, random.Random(1))


def choose(router: Router, excluded: frozenset[str] = NONE, **wants: object) -> Decision:
    features = structs.replace(FEATURES, wants=Wants(**wants))
    return router.choose(features, 0, excluded)


@POLICIES
@pytest.mark.parametrize(
    ("wants", "allowed"),
    [
        ({"regions": frozenset({"eu"})}, {"eu"}),
        ({"regions": frozenset({"eu", "ap"})}, {"eu", "ap"}),
        ({"tier_min": 1}, {"eu", "us"}),
        ({"price_ppm_max": 500_000}, {"us", "ap"}),
        ({"only": frozenset({"bob"})}, {"us"}),
        ({"ignored": frozenset({"bob", "alice"})}, {"ap"}),
        ({"tier_min": 1, "price_ppm_max": 600_000}, {"us"}),
        ({}, {"eu", "us", "ap"}),
    ],
)
def test_only_who_is_what_was_wanted_is_chosen(
    policy: Policy, wants: dict[str, object], allowed: set[str]
) -> None:
    router = router_of(policy, *NODES)
    decisions = [choose(router, **wants) for _ in range(60)]
    assert {decision.node_id for decision in decisions} == allowed
    for decision in decisions:
        assert policy.replay(decision).node_id == decision.node_id
        shown = policy.explain(decision)
        assert {each.node_id for each in shown if each.left_out is None} == allowed


@POLICIES
@pytest.mark.parametrize(
    ("wants", "reason", "refused"),
    [
        ({"regions": frozenset({"mars"})}, Reason.REGION, {Reason.REGION: 3}),
        ({"tier_min": 3}, Reason.TIER, {Reason.TIER: 3}),
        ({"price_ppm_max": 1}, Reason.PRICE, {Reason.PRICE: 3}),
        ({"only": frozenset({"dave"})}, Reason.SUPPLIER, {Reason.SUPPLIER: 3}),
        (
            {"regions": frozenset({"us", "ap"}), "tier_min": 1, "price_ppm_max": 9},
            Reason.PRICE,
            {Reason.REGION: 1, Reason.TIER: 1, Reason.PRICE: 1},
        ),
    ],
)
def test_a_refusal_says_what_was_not_met(
    policy: Policy, wants: dict[str, object], reason: Reason, refused: dict[Reason, int]
) -> None:
    decision = choose(router_of(policy, *NODES), **wants)
    assert (decision.reason, decision.refused) == (reason, refused)
    assert policy.replay(decision) == decision


@POLICIES
def test_who_is_met_and_full_is_worth_waiting_for(policy: Policy) -> None:
    router = router_of(policy, *NODES)
    leases = [router.start(choose(router, regions=frozenset({"eu"}))) for _ in range(4)]
    decision = choose(router, regions=frozenset({"eu"}))
    assert decision.reason is Reason.NO_CAPACITY
    assert decision.refused == {Reason.REGION: 2, Reason.NO_CAPACITY: 1}
    assert len(leases) == 4


@POLICIES
def test_the_cheapest_is_taken_until_it_is_full(policy: Policy) -> None:
    router = router_of(policy, *NODES)
    chosen = []
    for _ in range(12):
        decision = choose(router, sort=Sort.PRICE)
        assert policy.replay(decision).node_id == decision.node_id
        router.start(decision)
        chosen.append(decision.node_id)
    assert chosen == ["ap"] * 4 + ["us"] * 4 + ["eu"] * 4
    assert choose(router, sort=Sort.PRICE).reason is Reason.NO_CAPACITY


@POLICIES
def test_nobody_else_is_asked_if_that_is_what_was_said(policy: Policy) -> None:
    router = router_of(policy, *NODES)
    assert choose(router, fallbacks=False).node is not None
    decision = choose(router, frozenset({"eu"}), fallbacks=False)
    assert (decision.reason, decision.refused) == (
        Reason.NO_FALLBACK, {Reason.NO_FALLBACK: 3},
    )  # fmt: skip
    assert choose(router, frozenset({"eu"})).node_id in ("us", "ap")


def test_what_is_known_of_the_nodes_changes_with_their_records() -> None:
    registry = Registry()
    registry.update("test", NODES)
    router = Router(registry, Policy(), random.Random(1))
    assert choose(router, tier_min=2).node_id == "eu"
    registry.update("test", [structs.replace(each, tier=0) for each in NODES])
    assert choose(router, tier_min=2).reason is Reason.TIER


@pytest.mark.parametrize(
    ("sort", "first"), [(None, "near"), (Sort.LATENCY, "near"), (Sort.THROUGHPUT, "quick")]
)
def test_what_counts_first_is_what_is_forecast(sort: Sort | None, first: str) -> None:
    policy = learned_policy()
    router = router_of(policy, node("near"), node("quick"))
    for node_id, first_ns, step_ns in (("near", 20e6, 40e6), ("quick", 120e6, 5e6)):
        known = router.nodes(0) and router._known[node_id]
        pace = known.pace
        known.pace = structs.replace(
            pace,
            prefill=structs.replace(pace.prefill, base=first_ns),
            decode=structs.replace(pace.decode, base=step_ns, slope=0.0),
            samples=50,
        )
        router._show(known)
    features = structs.replace(FEATURES, completion_tokens_max=20, wants=Wants(sort=sort))
    assert router.choose(features, 0).node_id == first


def test_a_decision_among_few_with_room_is_made_again_alike() -> None:
    policy = learned_policy()
    router = router_of(policy, *(node(f"n{number}", capacity=1) for number in range(80)))
    router.nodes(0)
    for number in range(62):
        router._known[f"n{number}"].in_flight = 1
        router._show(router._known[f"n{number}"])
    for _ in range(100):
        decision = router.choose(FEATURES, 0)
        assert len(Fleet(decision.seen).few or ()) == 18
        assert policy.replay(decision).node_id == decision.node_id


def test_a_node_asks_no_more_than_its_model_costs() -> None:
    for wrong in (0, PPM + 1):
        with pytest.raises(ValueError, match="price_ppm"):
            node("a", price_ppm=wrong)

import random

import pytest

from router.picker import DRAW_BITS
from router.policy import RETRY_AFTER_NS, Policy
from router.types import Ask, NodeRecord, NodeState, NodeView, Reason, RequestFeatures

FEATURES = RequestFeatures(model="m", prompt_tokens=1, completion_tokens_max=1, stream=True)
NOW = 1_000
NONE: frozenset[str] = frozenset()


def bits(rng: random.Random) -> int:
    return rng.getrandbits(DRAW_BITS)


def view(
    node_id: str,
    in_flight: int = 0,
    capacity: int = 4,
    state: NodeState = NodeState.READY,
    ejected_until_ns: int | None = None,
    on_trial: bool = False,
) -> NodeView:
    record = NodeRecord(
        node_id=node_id,
        supplier_id="s",
        url="http://h",
        model="m",
        capacity=capacity,
        state=state,
    )
    return NodeView(
        node=record,
        in_flight=in_flight,
        ejections=0 if ejected_until_ns is None else 1,
        ejected_until_ns=ejected_until_ns or 0,
        on_trial=on_trial,
    )


BUSY = view("busy", in_flight=4)
DRAINING = view("draining", state=NodeState.DRAINING)
EJECTED = view("ejected", ejected_until_ns=NOW + 70)
LONGER = view("longer", ejected_until_ns=NOW + 90)
ON_TRIAL = view("on-trial", ejected_until_ns=NOW, on_trial=True)


@pytest.mark.parametrize(
    ("seen", "excluded", "reason", "refused", "retry_after_ns"),
    [
        ([], NONE, Reason.NO_NODE, {}, RETRY_AFTER_NS),
        ([BUSY], NONE, Reason.NO_CAPACITY, {Reason.NO_CAPACITY: 1}, RETRY_AFTER_NS),
        ([DRAINING], NONE, Reason.DRAINING, {Reason.DRAINING: 1}, RETRY_AFTER_NS),
        ([LONGER, EJECTED], NONE, Reason.EJECTED, {Reason.EJECTED: 2}, 70),
        ([ON_TRIAL], NONE, Reason.EJECTED, {Reason.EJECTED: 1}, RETRY_AFTER_NS),
        ([BUSY], {"busy"}, Reason.EXCLUDED, {Reason.EXCLUDED: 1}, RETRY_AFTER_NS),
        (
            [BUSY, EJECTED, DRAINING, view("tried")],
            {"tried"},
            Reason.NO_CAPACITY,
            {Reason.EXCLUDED: 1, Reason.DRAINING: 1, Reason.EJECTED: 1, Reason.NO_CAPACITY: 1},
            RETRY_AFTER_NS,
        ),
        ([DRAINING, LONGER], NONE, Reason.EJECTED, {Reason.DRAINING: 1, Reason.EJECTED: 1}, 90),
    ],
)
def test_refusals_say_why_and_when_to_try_again(
    seen: list[NodeView],
    excluded: set[str],
    reason: Reason,
    refused: dict[Reason, int],
    retry_after_ns: int,
) -> None:
    decision = Policy().choose(
        Ask(FEATURES, NOW, frozenset(excluded)), tuple(seen), bits(random.Random(1))
    )
    assert decision.node is None
    assert decision.node_id is None
    assert (decision.reason, decision.refused) == (reason, refused)
    assert decision.retry_after_ns == retry_after_ns


@pytest.mark.parametrize("others", [[], [BUSY], [DRAINING, EJECTED], [BUSY] * 50 + [DRAINING] * 50])
def test_the_only_node_left_is_found_among_any_number(others: list[NodeView]) -> None:
    for seed in range(20):
        seen = (*others, view("free", in_flight=3))
        assert (
            Policy().choose(Ask(FEATURES, NOW, NONE), seen, bits(random.Random(seed))).node_id
            == "free"
        )


def test_the_less_loaded_of_two_is_taken_relative_to_capacity() -> None:
    seen = (view("small", in_flight=2, capacity=4), view("big", in_flight=10, capacity=40))
    for seed in range(20):
        assert (
            Policy().choose(Ask(FEATURES, NOW, NONE), seen, bits(random.Random(seed))).node_id
            == "big"
        )


def test_equals_share_alike() -> None:
    seen = tuple(view(str(number)) for number in range(8))
    rng = random.Random(7)
    chosen = [
        Policy().choose(Ask(FEATURES, NOW, NONE), seen, bits(rng)).node_id for _ in range(4_000)
    ]
    for each in seen:
        assert 400 < chosen.count(each.node.node_id) < 600


def test_the_busiest_of_many_is_never_taken() -> None:
    seen = (view("worst", in_flight=3), *(view(str(number)) for number in range(5)))
    rng = random.Random(7)
    assert all(
        Policy().choose(Ask(FEATURES, NOW, NONE), seen, bits(rng)).node_id != "worst"
        for _ in range(500)
    )


def test_a_decision_explains_itself() -> None:
    seen = (view("a", in_flight=1), BUSY, DRAINING, EJECTED, view("tried"))
    policy = Policy()
    decision = policy.choose(Ask(FEATURES, NOW, frozenset({"tried"})), seen, bits(random.Random(3)))
    verdicts = {verdict.node_id: verdict for verdict in policy.explain(decision)}
    assert {node_id: verdict.left_out for node_id, verdict in verdicts.items()} == {
        "a": None,
        "busy": Reason.NO_CAPACITY,
        "draining": Reason.DRAINING,
        "ejected": Reason.EJECTED,
        "tried": Reason.EXCLUDED,
    }
    assert verdicts["a"].chosen
    assert verdicts["a"].score == 0.75
    assert verdicts["busy"].score is None

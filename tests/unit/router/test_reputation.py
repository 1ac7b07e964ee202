"""What evidence is worth: weights, forgetting, the prior that a supplier is, tiers."""

from __future__ import annotations

import random
from collections.abc import Iterable

import pytest

from router.reputation import (
    BOUND,
    HALF_LIFE_NS,
    RULES,
    Evidence,
    Memory,
    Tier,
    Trait,
    after,
    faded,
    judge,
    less,
    summed,
    tier_of,
    weight_of,
)

NEW = judge({}, {})


def seen(*pieces: tuple[Evidence, int], memory: Memory | None = None) -> dict[Evidence, float]:
    """One after another, as they come."""
    left = dict(memory or {})
    for kind, count in pieces:
        for _ in range(count):
            left = after(left, {kind: 1})
    return left


def score(memory: Memory) -> int:
    return judge(memory, {}).score


def first_below(pieces: Iterable[Evidence], memory: Memory | None = None) -> int | None:
    left = dict(memory or {})
    for number, kind in enumerate(pieces, start=1):
        left = after(left, {kind: 1})
        if score(left) < BOUND:
            return number
    return None


def requests(rng: random.Random, count: int, **shares: float) -> list[Evidence]:
    kinds = [Evidence(name) for name in shares]
    kept = 1.0 - sum(shares.values())
    return rng.choices([*kinds, Evidence.SERVED], [*shares.values(), kept], k=count)


PROVEN = seen((Evidence.SERVED, 2_000))


def test_a_new_node_is_above_the_bound_and_no_worse_than_any():
    assert NEW.score >= BOUND
    assert NEW.tier is Tier.NEW
    assert weight_of(NEW.score) == 1.0


def test_evidence_weighs_by_how_bad_it_is():
    """A failed check more than a stall, that more than a cut, that more than a timeout."""
    kinds = (
        Evidence.SLOW,
        Evidence.CONNECT_ERROR,
        Evidence.TIMEOUT,
        Evidence.BROKEN,
        Evidence.STALLED,
        Evidence.FALSE_USAGE,
    )
    scores = [score({kind: 1.0}) for kind in kinds]
    assert scores == sorted(scores, reverse=True)
    assert len(set(scores)) == len(scores)


@pytest.mark.parametrize(
    ("evidence", "needed"),
    [
        ((Evidence.FALSE_USAGE,), 1),
        ((Evidence.COUNT_FAILED,), 3),
        ((Evidence.CANARY_FAILED,), 2),
        ((Evidence.STALLED,), 2),
    ],
)
def test_how_much_bars_a_new_node(evidence, needed):
    assert first_below(evidence * 20) == needed


def test_how_much_bars_a_proven_one():
    good = seen((Evidence.COUNT_PASSED, 1_000), (Evidence.CANARY_PASSED, 100), memory=PROVEN)
    assert first_below([Evidence.FALSE_USAGE] * 5, good) == 1
    assert first_below([Evidence.COUNT_FAILED] * 9, good) == 7
    assert first_below([Evidence.CANARY_FAILED] * 9, good) == 3
    assert first_below([Evidence.STALLED] * 9, good) == 4


def test_counts_that_pass_do_not_cover_another_model():
    honest_counts = seen((Evidence.COUNT_PASSED, 500), memory=PROVEN)
    assert score(seen((Evidence.CANARY_FAILED, 3), memory=honest_counts)) < BOUND


def test_five_stalls_in_a_hundred_are_found_and_hardly_any_are_not():
    rng = random.Random(1)
    for memory, least in (({}, 0.98), (PROVEN, 0.92)):
        found = [first_below(requests(rng, 200, stalled=0.05), memory) for _ in range(100)]
        assert sum(number is not None for number in found) / len(found) >= least


def test_honest_nodes_stay():
    """Nodes as they are: now and then a cut, a timeout, hardly ever a stall."""
    rng = random.Random(2)
    shares = {"stalled": 0.0002, "broken": 0.002, "timeout": 0.002, "connect_error": 0.005}
    lost = [first_below(requests(rng, 500, **shares), PROVEN) for _ in range(80)]
    assert sum(number is not None for number in lost) == 0


def test_a_slow_node_stays_however_slow():
    rng = random.Random(3)
    shares = {"slow": 0.2, "timeout": 0.01}
    assert first_below(requests(rng, 2_000, **shares)) is None


def test_memory_fades_by_half_in_its_half_life():
    memory = seen((Evidence.FALSE_USAGE, 3))
    old = faded(memory, HALF_LIFE_NS, HALF_LIFE_NS)
    assert old[Evidence.FALSE_USAGE] == pytest.approx(memory[Evidence.FALSE_USAGE] / 2)
    assert score(memory) < score(old) < score(faded(memory, 10 * HALF_LIFE_NS, HALF_LIFE_NS))
    assert faded(memory, 60 * HALF_LIFE_NS, HALF_LIFE_NS) == {}
    assert faded(memory, -5, HALF_LIFE_NS) == memory


def test_a_good_past_does_not_grow_without_end():
    assert sum(PROVEN.values()) <= RULES[Trait.RELIABILITY].memory
    more = seen((Evidence.SERVED, 5_000))
    assert score(seen((Evidence.STALLED, 4), memory=more)) < BOUND


def test_pieces_that_come_together_weigh_as_if_they_came_mixed():
    one_by_one: dict[Evidence, float] = {}
    for number in range(1_000):
        kind = Evidence.BROKEN if number % 100 == 50 else Evidence.SERVED
        one_by_one = after(one_by_one, {kind: 1})
    together = after({}, {Evidence.SERVED: 990, Evidence.BROKEN: 10})
    assert together[Evidence.SERVED] == pytest.approx(one_by_one[Evidence.SERVED], rel=0.01)
    assert together[Evidence.BROKEN] == pytest.approx(one_by_one[Evidence.BROKEN], rel=0.1)


def test_a_new_node_of_a_lying_supplier_is_barred_and_one_that_is_proven_is_not():
    others = {Evidence.FALSE_USAGE: 2.0, Evidence.COUNT_PASSED: 150.0}
    assert judge({}, others).tier is Tier.BARRED
    good = {Evidence.COUNT_PASSED: 250.0, **PROVEN}
    assert judge(good, others).score >= BOUND


def test_a_good_supplier_makes_no_node_better_than_new():
    others = {Evidence.SERVED: 1e6, Evidence.COUNT_PASSED: 1e6, Evidence.CANARY_PASSED: 1e6}
    assert judge({}, others).score == NEW.score


def test_tiers():
    assert tier_of(BOUND - 1, 500.0) is Tier.BARRED
    assert tier_of(BOUND, 500.0) is Tier.DOUBTFUL
    assert tier_of(960, 500.0) is Tier.SOUND
    assert tier_of(990, 500.0) is Tier.PROVEN
    assert tier_of(990, 5.0) is Tier.NEW
    assert tier_of(5, 0.0, bar=0) is Tier.DOUBTFUL
    assert judge(PROVEN, {}).tier is Tier.PROVEN


def test_a_scorer_takes_off_by_and_by():
    weights = [weight_of(score) for score in (0, BOUND, 925, 950, 1000)]
    assert weights == [0.2, 0.2, pytest.approx(0.6), 1.0, 1.0]


def test_a_sum_less_a_part_is_the_rest():
    one, other = {Evidence.SERVED: 3.0, Evidence.SLOW: 1.0}, {Evidence.SERVED: 2.0}
    assert less(summed([one, other]), one) == other

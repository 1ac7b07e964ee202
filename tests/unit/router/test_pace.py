import random

import pytest

from router.pace import SLOW_HALF_NS, UNKNOWN, Pace, after_answer, after_first_token

MS = 1_000_000


def fed(pace: Pace, base_ms: float, per_token_us: float, count: int, at_ns: int = 0) -> Pace:
    chance = random.Random(3)
    for number in range(count):
        tokens = chance.randint(50, 4_000)
        took = int(base_ms * MS + tokens * per_token_us * 1000 * chance.uniform(0.95, 1.05))
        pace = after_first_token(
            pace, tokens=tokens, took_ns=took, was_idle=True, now_ns=at_ns + number * 1000 * MS
        )
    return pace


@pytest.mark.parametrize(("base_ms", "per_token_us"), [(5, 120), (250, 100), (60, 900), (2, 10)])
def test_base_and_slope_are_found_whatever_lengths_came(
    base_ms: float, per_token_us: float
) -> None:
    pace = fed(UNKNOWN, base_ms, per_token_us, 40)
    assert pace.prefill.base == pytest.approx(base_ms * MS, abs=12 * MS)
    assert pace.prefill.slope == pytest.approx(per_token_us * 1000, rel=0.1)
    assert pace.slowdown < 1.5


def test_a_slow_answer_counts_at_once_and_wears_off() -> None:
    pace = fed(UNKNOWN, 10, 200, 30)
    slope = pace.prefill.slope
    now_ns = 40_000 * MS
    slow = after_first_token(pace, tokens=2_000, took_ns=2_050 * MS, was_idle=True, now_ns=now_ns)
    assert 4 < slow.slowdown < 6
    assert slow.prefill.slope == slope, "what does not fit changes nothing else"
    assert slow.slowdown_at(now_ns + SLOW_HALF_NS) == pytest.approx(1 + (slow.slowdown - 1) / 2)
    later = now_ns + 4_000 * MS
    healed = after_first_token(slow, tokens=2_000, took_ns=410 * MS, was_idle=True, now_ns=later)
    assert 1 < healed.slowdown < slow.slowdown_at(later)


def test_no_sample_makes_a_node_infinitely_fast() -> None:
    pace = fed(UNKNOWN, 100, 100, 20)
    for _ in range(5):
        pace = after_first_token(pace, tokens=3_000, took_ns=0, was_idle=False, now_ns=0)
    assert pace.prefill.slope > 100
    assert pace.prefill.base > 0


def test_decoding_is_learned_by_how_many_run() -> None:
    pace = UNKNOWN
    for running in [1, 8, 30, 60, 2, 45, 16, 50, 5] * 4:
        pace = after_answer(pace, beside=running, ns_per_token=20e6 + running * 0.3e6)
    assert pace.decode.base == pytest.approx(20e6, rel=0.1)
    assert pace.decode.slope == pytest.approx(0.3e6, rel=0.1)


def test_one_prompt_that_was_not_in_the_cache_after_all_poisons_no_new_node() -> None:
    pace = fed(UNKNOWN, 40, 120, 2)
    missed = after_first_token(pace, tokens=200, took_ns=2_600 * MS, was_idle=True, now_ns=0)
    assert missed.prefill.base <= 2 * pace.prefill.base
    assert missed.prefill.slope <= 2 * pace.prefill.slope
    assert missed.samples == pace.samples, "that is no lesson yet"
    healed = fed(missed, 40, 120, 4)
    assert healed.prefill.base + 2_000 * healed.prefill.slope < 1.5 * (40 + 240) * MS


def test_a_node_far_slower_than_any_is_learned_nonetheless() -> None:
    pace = fed(UNKNOWN, 400, 20_000, 30)
    assert pace.prefill.slope == pytest.approx(20e6, rel=0.2)
    assert pace.slowdown < 1.5

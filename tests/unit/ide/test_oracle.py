from __future__ import annotations

import pytest

from ide.oracle import (
    OracleParams,
    Quote,
    Round,
    fresh,
    median_nano_usd,
    next_rounds,
    price_nano_usd,
)

S = 1_000_000_000
NOW = 1_000_000 * S
CENT = 10_000_000
PARAMS = OracleParams()


def quote(source: str, cents: int, age_s: int = 0) -> Quote:
    return Quote(source=source, price_nano_usd=cents * CENT, at_ns=NOW - age_s * S)


def at(cents: int, age_s: int) -> Round:
    return Round(price_nano_usd=cents * CENT, at_ns=NOW - age_s * S)


@pytest.mark.parametrize(
    ("prices", "median"), [([5], 5), ([9, 1, 5], 5), ([1, 4], 2), ([7, 1, 3, 9], 5)]
)
def test_median(prices: list[int], median: int) -> None:
    assert median_nano_usd(prices) == median


def test_what_does_not_count() -> None:
    quotes = [
        quote("good", 16),
        quote("stale", 16, age_s=901),
        quote("ahead", 16, age_s=-61),
        Quote(source="zero", price_nano_usd=999_999, at_ns=NOW),
        quote("good", 15, age_s=30),  # an older word of the same source
    ]
    assert fresh(quotes, NOW, PARAMS) == [quote("good", 16)]


def test_one_source_that_lies_moves_nothing() -> None:
    quotes = [quote("a", 16), quote("b", 17), quote("liar", 900)]
    (round_,) = next_rounds((), quotes, NOW, PARAMS)
    assert round_.price_nano_usd == 17 * CENT


def test_too_few_sources_are_no_round() -> None:
    assert next_rounds((), [quote("a", 16)], NOW, PARAMS) == ()
    assert next_rounds((), [quote("a", 16), quote("b", 16, age_s=901)], NOW, PARAMS) == ()


@pytest.mark.parametrize(("said", "taken"), [(30, 12), (11, 11), (2, 8)])
def test_a_round_moves_one_step_at_most(said: int, taken: int) -> None:
    quotes = [quote("a", said), quote("b", said)]
    *_, last = next_rounds((at(10, 60),), quotes, NOW, PARAMS)
    assert last.price_nano_usd == taken * CENT


def test_after_an_outage_the_step_does_not_hold_the_price_back() -> None:
    quotes = [quote("a", 2), quote("b", 2)]
    *_, last = next_rounds((at(10, 901),), quotes, NOW, PARAMS)
    assert last.price_nano_usd == 2 * CENT


def test_a_clock_that_stands_or_goes_back_adds_nothing() -> None:
    quotes = [quote("a", 16), quote("b", 16)]
    assert next_rounds((at(16, 0),), quotes, NOW, PARAMS) == (at(16, 0),)


def test_what_the_window_no_longer_needs_is_left_out() -> None:
    rounds = (at(1, 9_000), at(2, 4_000), at(3, 100))
    assert next_rounds(rounds, [], NOW, PARAMS) == (at(2, 4_000), at(3, 100))


def test_the_average_is_weighted_by_time() -> None:
    params = OracleParams(window_s=600)
    # 10 cents for the first 450 of 600 seconds, then 20 for 150.
    assert price_nano_usd((at(10, 800), at(20, 150)), NOW, params) == 12_5 * CENT // 10


def test_a_gap_weighs_nothing() -> None:
    # 10 cents held for the 900 s before it went stale, 20 cents for the last 300.
    rounds = (at(10, 3_000), at(20, 300))
    assert price_nano_usd(rounds, NOW, PARAMS) == 12_5 * CENT // 10


def test_a_first_round_is_the_price_at_once() -> None:
    assert price_nano_usd((at(16, 0),), NOW, PARAMS) == 16 * CENT


def test_no_price() -> None:
    assert price_nano_usd((), NOW, PARAMS) is None
    assert price_nano_usd((at(16, 901),), NOW, PARAMS) is None
    near_zero = Round(price_nano_usd=1, at_ns=NOW - S)
    assert price_nano_usd((near_zero,), NOW, PARAMS) is None


def test_a_crash_is_followed_step_by_step_until_near_zero_is_no_price() -> None:
    rounds: tuple[Round, ...] = ()
    prices = []
    for minute in range(180):
        now = NOW + minute * 60 * S
        said = 16 * CENT if minute < 60 else 1_000
        quotes = [Quote(source=name, price_nano_usd=said, at_ns=now) for name in "ab"]
        rounds = next_rounds(rounds, quotes, now, PARAMS)
        prices.append(price_nano_usd(rounds, now, PARAMS))
    assert set(prices[:61]) == {16 * CENT}
    # Quotes near zero do not count: the last good round goes stale, and there is no price.
    assert prices[59 + 15] == 16 * CENT
    assert set(prices[59 + 16 :]) == {None}

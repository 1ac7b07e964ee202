from __future__ import annotations

import pytest

from ide.epoch import Alarm
from ide.health import RUNWAY_MONTHS_MAX, alarms, runway_months, smooth
from ide.params import IdeParams
from ide.state import Smoothed
from metering.money import IO_UNIT, USD_UNIT

MONTHLY = IdeParams(epoch_s=2_629_800, release_ppb_per_hour=1_000)
NO_RELEASE = IdeParams(epoch_s=2_629_800, release_ppb_per_hour=0)
PRICE = USD_UNIT  # one USD for one IO


def smoothed(revenue: int, obligation: int, deficit_s: int = 0) -> Smoothed:
    return Smoothed(
        revenue_nano_usd=revenue * USD_UNIT,
        obligation_nano_usd=obligation * USD_UNIT,
        stipend_nano_usd=0,
        list_share_nano_usd=0,
        deficit_s=deficit_s,
    )


@pytest.mark.parametrize(
    ("revenue", "obligation", "reserve", "limit_io", "months"),
    [
        (100, 100, 0, 0, RUNWAY_MONTHS_MAX),  # fees cover it for ever
        (90, 100, 0, 0, 0),
        (90, 100, 35, 0, 3),  # 10 a month out of 35
        (0, 100, 1_200, 0, 12),
        (90, 100, 0, 100, RUNWAY_MONTHS_MAX),  # the release covers what is missing
        (90, 100, 0, 9, 0),  # all but one dollar of it
        (90, 100, -1, 100, 0),  # still owed
        (100, 100, -1, 100, 0),
    ],
)
def test_runway(revenue: int, obligation: int, reserve: int, limit_io: int, months: int) -> None:
    found = runway_months(
        smoothed(revenue, obligation), reserve * USD_UNIT, limit_io * IO_UNIT, PRICE, NO_RELEASE
    )
    assert found == months


def test_the_release_limit_shrinks_with_its_pool() -> None:
    params = IdeParams(epoch_s=2_629_800, release_ppb_per_hour=300_000)  # a fifth of it a month
    found = runway_months(smoothed(90, 100), 0, 16 * IO_UNIT, PRICE, params)
    # 16 x 0.8032^n: 12.9 after a month, 10.3 after two, 8.3 after three.
    assert found == 3


def test_without_a_price_only_the_reserve_counts() -> None:
    assert runway_months(smoothed(90, 100), 25 * USD_UNIT, 10**18, None, MONTHLY) == 2


def test_smoothing_is_exponential_and_starts_with_the_first_epoch() -> None:
    params = IdeParams(smoothing_s=36_000)
    first = smooth(None, 1_000, 500, 300, 200, params)
    assert (first.revenue_nano_usd, first.obligation_nano_usd, first.deficit_s) == (1_000, 500, 0)
    second = smooth(first, 0, 1_500, 1_300, 200, params)
    assert second.revenue_nano_usd == 900
    assert (second.obligation_nano_usd, second.stipend_nano_usd) == (600, 400)
    assert (second.list_share_nano_usd, second.deficit_s) == (200, 0)


def test_an_epoch_longer_than_the_window_is_taken_as_it_is() -> None:
    params = IdeParams(smoothing_s=60)
    before = smooth(None, 1_000, 500, 0, 0, params)
    assert smooth(before, 7, 500, 0, 0, params).revenue_nano_usd == 7


def test_a_deficit_is_timed_until_it_ends() -> None:
    params = IdeParams(smoothing_s=3_600)
    state = smooth(None, 1, 2, 0, 0, params)
    state = smooth(state, 1, 2, 0, 0, params)
    assert state.deficit_s == 7_200
    assert smooth(state, 2, 2, 0, 0, params).deficit_s == 0


def test_alarms() -> None:
    fine, bad = smoothed(2, 1), smoothed(1, 2, deficit_s=1)
    params = IdeParams()
    assert alarms(fine, 120, 1, 0, PRICE, params) == ()
    assert alarms(fine, 120, 0, 0, None, params) == ()
    assert alarms(fine, 6, 1, 0, PRICE, params) == ()
    assert alarms(bad, 5, 1, 1, None, params) == tuple(Alarm)

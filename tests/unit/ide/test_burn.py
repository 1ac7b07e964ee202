from __future__ import annotations

import pytest

from ide.burn import burn_share_nano_usd, burn_share_ppm, buy_back, surplus_nano_usd
from ide.params import IdeParams
from metering.money import IO_UNIT


@pytest.mark.parametrize(
    ("revenue", "usd_paid", "spendable_after", "surplus"),
    [
        (100, 30, 70, 70),
        (100, 30, 500, 70),  # the reserve of earlier epochs is no surplus of this one
        (100, 30, 20, 20),  # fees first fill the vault up to its floor
        (100, 130, 500, 0),
        (0, 0, 0, 0),
    ],
)
def test_surplus(revenue: int, usd_paid: int, spendable_after: int, surplus: int) -> None:
    assert surplus_nano_usd(revenue, usd_paid, spendable_after) == surplus


def test_the_share_is_never_less_than_half() -> None:
    assert [burn_share_nano_usd(usd, 500_000) for usd in (0, 1, 2, 3)] == [0, 1, 1, 2]
    assert burn_share_nano_usd(7, 1_000_000) == 7


@pytest.mark.parametrize(
    ("reserve", "share_ppm"),
    [(0, 500_000), (600, 500_000), (750, 625_000), (900, 750_000), (1_200, 10**6), (9_999, 10**6)],
)
def test_the_share_rises_as_the_reserve_passes_6_to_12_months(reserve: int, share_ppm: int) -> None:
    assert burn_share_ppm(reserve, 100, IdeParams()) == share_ppm


def test_a_share_above_half_rises_from_there() -> None:
    assert burn_share_ppm(900, 100, IdeParams(burn_share_ppm=800_000)) == 900_000


def test_without_an_obligation_the_least_share_holds() -> None:
    assert burn_share_ppm(10**9, 0, IdeParams()) == 500_000


def test_a_target_without_width_is_a_step() -> None:
    params = IdeParams(reserve_low_months=6, reserve_high_months=6)
    assert [burn_share_ppm(reserve, 100, params) for reserve in (600, 601)] == [500_000, 10**6]


@pytest.mark.parametrize(
    ("due", "price", "circulating", "spent_and_bought"),
    [
        (160_000_000, 160_000_000, CIRCULATING := 10 * IO_UNIT, (160_000_000, IO_UNIT)),
        (2, 160_000_000, CIRCULATING, (2, 1)),
        (1, 160_000_000, CIRCULATING, (0, 0)),  # not one base unit: stays due
        (0, 160_000_000, CIRCULATING, (0, 0)),
        (10**12, 160_000_000, 5, (8, 5)),  # all there is
        (16, 160_000_000, 9, (15, 9)),  # one base unit more than there is
        (10**12, 160_000_000, 0, (0, 0)),
    ],
)
def test_buy_back(due: int, price: int, circulating: int, spent_and_bought: object) -> None:
    assert buy_back(due, price, circulating) == spent_and_bought

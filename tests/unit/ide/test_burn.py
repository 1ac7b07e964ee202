from __future__ import annotations

import pytest

from ide.burn import burn_share_nano_usd, buy_back, surplus_nano_usd
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
    assert [burn_share_nano_usd(usd, IdeParams()) for usd in (0, 1, 2, 3)] == [0, 1, 1, 2]
    assert burn_share_nano_usd(7, IdeParams(burn_share_ppm=1_000_000)) == 7


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

from __future__ import annotations

import itertools

import pytest

from ide.legacy import MONTHS, POOL_IO, emitted_io, monthly_io
from ide.params import MONTH_S
from metering.money import IO_UNIT


def rounded(units: int) -> int:
    return (2 * units + IO_UNIT) // (2 * IO_UNIT)


def test_the_schedule_sums_to_its_pool_exactly() -> None:
    assert len(monthly_io()) == 240
    assert sum(monthly_io()) == POOL_IO == 300_000_000 * IO_UNIT


@pytest.mark.parametrize(
    ("month", "io"),
    [(1, 3_333_333), (2, 3_299_497), (3, 3_266_003), (12, 2_979_456), (240, 290_973)],
)
def test_months_of_the_published_table(month: int, io: int) -> None:
    assert rounded(monthly_io()[month - 1]) == io


def test_cumulative_landmarks() -> None:
    assert rounded(sum(monthly_io()[:12])) == 37_840_637
    # What the engine opened with is what the schedule had not emitted after 23 months.
    assert rounded(POOL_IO - emitted_io(23 * MONTH_S)) == 231_315_467
    millions = [emitted_io(months * MONTH_S) // (10_000 * IO_UNIT) for months in (24, 60, 120)]
    assert millions == [7_132, 15_033, 23_184]


def test_the_rate_never_rises() -> None:
    months = monthly_io()
    assert all(this > following for this, following in itertools.pairwise(months))


@pytest.mark.parametrize("epoch_s", [3_600, 86_400, 1, 7_919])
def test_epochs_of_a_month_sum_to_it(epoch_s: int) -> None:
    edges = [*range(0, MONTH_S, max(epoch_s, 900)), MONTH_S]
    first = [emitted_io(end) - emitted_io(start) for start, end in itertools.pairwise(edges)]
    assert sum(first) == monthly_io()[0]
    assert max(first) - min(first[:-1]) <= 1


def test_twenty_years_of_hours_are_the_pool() -> None:
    hours = range(0, 175_320 * 3_600 + 1, 3_600)
    emitted = [emitted_io(age_s) for age_s in hours]
    assert sum(b - a for a, b in itertools.pairwise(emitted)) == POOL_IO
    assert emitted_io(10**12) == POOL_IO
    assert MONTHS * MONTH_S == 175_320 * 3_600

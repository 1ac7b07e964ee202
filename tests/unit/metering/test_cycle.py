"""Spend cycles against the standard library's calendar."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metering.cycle import Cycle, cycle_end_ns, cycle_start_ns

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
moments = st.integers(4 * 86_400, 291 * 366 * 86_400).map(lambda s: EPOCH + timedelta(seconds=s))


def ns(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(microseconds=1) * 1000


def began(cycle: Cycle, now: datetime) -> datetime:
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    match cycle:
        case Cycle.EIGHT_HOURS:
            return midnight.replace(hour=now.hour // 8 * 8)
        case Cycle.DAILY:
            return midnight
        case Cycle.WEEKLY:
            return midnight - timedelta(days=now.weekday())
        case Cycle.MONTHLY:
            return midnight.replace(day=1)


@given(st.sampled_from(Cycle), moments)
def test_a_cycle_begins_where_the_calendar_says(cycle, now):
    assert cycle_start_ns(cycle, ns(now)) == ns(began(cycle, now))


@given(st.sampled_from(Cycle), moments)
def test_the_next_cycle_begins_where_this_one_ends(cycle, now):
    end = cycle_end_ns(cycle, ns(now))
    assert cycle_start_ns(cycle, end) == end
    assert cycle_start_ns(cycle, end - 1) == cycle_start_ns(cycle, ns(now)) < end


@pytest.mark.parametrize("year", [1972, 2000, 2023, 2024, 2100, 2200])
def test_every_day_of_a_year_is_in_its_month(year):
    day = datetime(year, 1, 1, tzinfo=UTC)
    while day.year == year:
        first = day.replace(day=1)
        after = (first + timedelta(days=31)).replace(day=1)
        assert cycle_start_ns(Cycle.MONTHLY, ns(day)) == ns(first)
        assert cycle_end_ns(Cycle.MONTHLY, ns(day)) == ns(after)
        day += timedelta(days=1)

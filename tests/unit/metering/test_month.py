"""Calendar months in UTC."""

from __future__ import annotations

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metering.month import Month, MonthError, day_text, month_at, parse_month, time_text

NS = 1_000_000_000
moments = st.integers(0, 8_500_000_000)  # to the year 2239


@given(moments)
def test_a_moment_lies_in_its_month_as_the_calendar_has_it(at_s):
    moment = datetime.datetime.fromtimestamp(at_s, datetime.UTC)
    at_ns = at_s * NS
    month = month_at(at_ns)
    assert (month.year, month.month) == (moment.year, moment.month)
    assert month.start_ns <= at_ns < month.end_ns
    assert time_text(at_ns) == moment.strftime("%Y-%m-%d %H:%M:%S")
    assert day_text(at_ns // (86_400 * NS)) == moment.strftime("%Y-%m-%d")


@given(st.integers(1971, 2240), st.integers(1, 12))
def test_months_follow_each_other_without_a_gap(year, number):
    month = Month(year, number)
    assert month.before.end_ns == month.start_ns
    assert month.before < month
    assert parse_month(str(month)) == month


@pytest.mark.parametrize(
    "text", ["2026-13", "2026-00", "2026-1", "26-01", "2026-01-01", "", "1969-12"]
)
def test_what_is_no_month_is_refused(text):
    with pytest.raises(MonthError, match="write it like 2026-10"):
        parse_month(text)

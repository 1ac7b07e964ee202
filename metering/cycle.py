"""Refresh cycles of a key's spend cap. Pure; all of them in UTC.

A cycle begins at 0, 8 and 16 o'clock, at midnight, at Monday's midnight, or with the month.
"""

from __future__ import annotations

from enum import StrEnum

_HOUR_NS = 3_600_000_000_000
_DAY_NS = 24 * _HOUR_NS
_MONDAY_DAYS = 3
"""1970 began on a Thursday, three days after a Monday."""


class Cycle(StrEnum):
    EIGHT_HOURS = "8h"
    DAILY = "daily"
    WEEKLY = "weekly"
    MONTHLY = "monthly"


def cycle_start_ns(cycle: Cycle, now_ns: int) -> int:
    """When the cycle that `now_ns` (Unix time) lies in began."""
    if cycle is Cycle.EIGHT_HOURS:
        return now_ns - now_ns % (8 * _HOUR_NS)
    day = now_ns // _DAY_NS
    if cycle is Cycle.WEEKLY:
        day -= (day + _MONDAY_DAYS) % 7
    elif cycle is Cycle.MONTHLY:
        day = first_day(*month_of(day))
    return day * _DAY_NS


def cycle_end_ns(cycle: Cycle, now_ns: int) -> int:
    """When it ends, which is when the next one begins."""
    if cycle is Cycle.EIGHT_HOURS:
        return cycle_start_ns(cycle, now_ns) + 8 * _HOUR_NS
    if cycle is Cycle.DAILY:
        return cycle_start_ns(cycle, now_ns) + _DAY_NS
    if cycle is Cycle.WEEKLY:
        return cycle_start_ns(cycle, now_ns) + 7 * _DAY_NS
    year, month = month_of(now_ns // _DAY_NS)
    return first_day(year, month + 1) * _DAY_NS


def utc_text(at_ns: int) -> str:
    """A moment to the second, as RFC 3339 writes it: 2026-03-01T08:00:00Z."""
    day, second = divmod(at_ns // 1_000_000_000, 86_400)
    year, month = month_of(day)
    month_day = day - first_day(year, month) + 1
    minute, second = divmod(second, 60)
    hour, minute = divmod(minute, 60)
    return f"{year:04}-{month:02}-{month_day:02}T{hour:02}:{minute:02}:{second:02}Z"


def month_of(day: int) -> tuple[int, int]:
    """Year and month of a day since 1970-01-01, in the Gregorian calendar."""
    year = 1970 + day // 366  # never beyond it, and seldom more than a few years before
    while first_day(year + 1, 1) <= day:
        year += 1
    month = 12
    while first_day(year, month) > day:
        month -= 1
    return year, month


def first_day(year: int, month: int) -> int:
    """Days from 1970-01-01 to the first of that month; month 13 is the next January."""
    # Years that begin in March have their leap day last (howardhinnant.github.io/date_algorithms).
    months = year * 12 + month - 3
    march_year, from_march = divmod(months, 12)
    leap_days = march_year // 4 - march_year // 100 + march_year // 400
    return march_year * 365 + leap_days + (153 * from_march + 2) // 5 - 719_468

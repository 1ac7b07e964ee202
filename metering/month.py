"""Calendar months in UTC, which statements and SLAs go by. Pure."""

from __future__ import annotations

import re

import msgspec

from metering.cycle import first_day, month_of

DAY_NS = 86_400_000_000_000

_MONTH = re.compile(r"([0-9]{4})-(0[1-9]|1[0-2])", re.ASCII)
_DAY = re.compile(r"[0-9]{2}", re.ASCII)
_YEAR_MIN = 1970


class MonthError(ValueError):
    """A text that is no month."""


class Month(msgspec.Struct, frozen=True, order=True):
    year: int
    month: int

    @property
    def start_ns(self) -> int:
        """Unix time of its first moment."""
        return first_day(self.year, self.month) * DAY_NS

    @property
    def end_ns(self) -> int:
        """Of the first moment after it."""
        return first_day(self.year, self.month + 1) * DAY_NS

    @property
    def before(self) -> Month:
        year, month = divmod(self.year * 12 + self.month - 2, 12)
        return Month(year, month + 1)

    def __str__(self) -> str:
        return f"{self.year:04}-{self.month:02}"


def parse_month(text: str) -> Month:
    """Of a text such as "2026-10". Raises MonthError."""
    match = _MONTH.fullmatch(text)
    if match is None or int(match[1]) < _YEAR_MIN:
        raise MonthError(f"'{text[:20]}' is no month: write it like 2026-10")
    return Month(int(match[1]), int(match[2]))


def parse_day(text: str) -> int:
    """Days since 1970-01-01 of a text such as "2026-10-03". Raises MonthError."""
    month, _, day = text.rpartition("-")
    found = parse_month(month)
    number = first_day(found.year, found.month) + (int(day) if _DAY.fullmatch(day) else 0) - 1
    if day_text(number) != text:
        raise MonthError(f"'{text[:20]}' is no day: write it like 2026-10-03")
    return number


def month_at(now_ns: int) -> Month:
    return Month(*month_of(now_ns // DAY_NS))


def day_text(day: int) -> str:
    """Of a day since 1970-01-01: "2026-10-03"."""
    year, month = month_of(day)
    return f"{year:04}-{month:02}-{day - first_day(year, month) + 1:02}"


def time_text(at_ns: int) -> str:
    """To the second, UTC: "2026-10-03 14:05:09"."""
    day, rest_ns = divmod(at_ns, DAY_NS)
    minutes, seconds = divmod(rest_ns // 1_000_000_000, 60)
    return f"{day_text(day)} {minutes // 60:02}:{minutes % 60:02}:{seconds:02}"

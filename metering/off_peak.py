"""Hours of the week, in UTC, at which a price is lower.

Minutes of the week count from Monday 00:00. A window is half-open, [from, until), and may go past
midnight: then it belongs to the day on which it begins.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import StrEnum

import msgspec

from metering.money import PPM
from metering.prices import PriceError

MINUTE_NS = 60 * 10**9
DAY_MINUTES = 24 * 60
WEEK_MINUTES = 7 * DAY_MINUTES

_EPOCH_MINUTE = 3 * DAY_MINUTES
"""1970-01-01 was a Thursday."""

_TIME = re.compile(r"([01]\d|2[0-3]):([0-5]\d)", re.ASCII)
_WINDOW = re.compile(r"(\S+)\s+(\S+)-(\S+)\s+(\d+)", re.ASCII)


class Weekday(StrEnum):
    MON = "mon"
    TUE = "tue"
    WED = "wed"
    THU = "thu"
    FRI = "fri"
    SAT = "sat"
    SUN = "sun"


EVERY_DAY = tuple(Weekday)


class OffPeakWindow(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`utc_from` and `utc_until` are HH:MM, until also 24:00. Raises PriceError."""

    utc_from: str
    """When it begins."""
    utc_until: str
    """When it ends; before `utc_from`: on the next day."""
    discount_ppm: int
    """What it costs less, in millionths of the price."""
    days: tuple[Weekday, ...] = EVERY_DAY
    """Those on which it begins."""

    def __post_init__(self) -> None:
        if not 0 < self.discount_ppm <= PPM:
            raise PriceError(f"discount_ppm is 1 to {PPM}, not {self.discount_ppm}")
        if not self.days or len(set(self.days)) != len(self.days):
            raise PriceError("days: name at least one day, and each once")
        begins, ends = _minute(self.utc_from), _minute(self.utc_until)
        if begins in (ends, DAY_MINUTES):
            raise PriceError(
                f"a window from {self.utc_from} until {self.utc_until} is empty; a whole day is "
                "00:00 until 24:00"
            )

    @property
    def minutes(self) -> int:
        """How long it is."""
        return (_minute(self.utc_until) - _minute(self.utc_from)) % DAY_MINUTES or DAY_MINUTES

    @property
    def begins(self) -> list[int]:
        """The minutes of the week at which it begins."""
        minute = _minute(self.utc_from)
        return [EVERY_DAY.index(day) * DAY_MINUTES + minute for day in self.days]

    def covers(self, week_minute: int) -> bool:
        return any((week_minute - begin) % WEEK_MINUTES < self.minutes for begin in self.begins)

    def __str__(self) -> str:
        days = "daily" if len(self.days) == 7 else ",".join(self.days)
        return f"{days} {self.utc_from}-{self.utc_until} {self.discount_ppm}"


def window_from_text(text: str) -> OffPeakWindow:
    """Read `sat,sun 00:00-24:00 300000` or `daily 22:00-06:00 250000`: days (a range as mon-fri),
    hours in UTC, discount in ppm. Raises PriceError.
    """
    match = _WINDOW.fullmatch(text.strip())
    if match is None:
        raise PriceError(
            f"'{text}' is no off-peak window: write days, hours in UTC and the discount in ppm, "
            "like 'mon-fri 22:00-06:00 250000' or 'daily 00:00-24:00 100000'"
        )
    days, utc_from, utc_until, ppm = match.groups()
    return OffPeakWindow(
        days=_days(days), utc_from=utc_from, utc_until=utc_until, discount_ppm=int(ppm)
    )


def week_minute(now_ns: int) -> int:
    return (now_ns // MINUTE_NS + _EPOCH_MINUTE) % WEEK_MINUTES


def discount_ppm(windows: Sequence[OffPeakWindow], now_ns: int) -> int:
    """The discount of the windows at this moment. Where they overlap the largest holds."""
    minute = week_minute(now_ns)
    return max((each.discount_ppm for each in windows if each.covers(minute)), default=0)


def span_ns(windows: Sequence[OffPeakWindow], now_ns: int) -> tuple[int, int] | None:
    """From when until when no window begins or ends; None without windows."""
    edges = sorted(
        {(begin + add) % WEEK_MINUTES for each in windows for begin in each.begins
         for add in (0, each.minutes)}
    )  # fmt: skip
    if not edges:
        return None
    minute = week_minute(now_ns)
    start_ns = now_ns - now_ns % MINUTE_NS
    since = min((minute - edge) % WEEK_MINUTES for edge in edges)
    left = min((edge - minute) % WEEK_MINUTES or WEEK_MINUTES for edge in edges)
    return start_ns - since * MINUTE_NS, start_ns + left * MINUTE_NS


def _minute(time: str) -> int:
    if time == "24:00":
        return DAY_MINUTES
    match = _TIME.fullmatch(time)
    if match is None:
        raise PriceError(f"'{time}' is no time of day: write HH:MM, such as 22:00")
    return int(match[1]) * 60 + int(match[2])


def _days(text: str) -> tuple[Weekday, ...]:
    if text == "daily":
        return EVERY_DAY
    days: list[Weekday] = []
    for part in text.lower().split(","):
        first, _, last = part.partition("-")
        try:
            begin, end = EVERY_DAY.index(Weekday(first)), EVERY_DAY.index(Weekday(last or first))
        except ValueError:
            names = ", ".join(EVERY_DAY)
            raise PriceError(f"'{part}' is no day: write one of {names}, or a range") from None
        days += [EVERY_DAY[(begin + i) % 7] for i in range((end - begin) % 7 + 1)]
    return tuple(sorted(set(days), key=EVERY_DAY.index))

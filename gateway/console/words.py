"""Figures as people read them. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from metering.money import format_io, format_usd
from metering.month import day_text, time_text

NONE = "–"
_NEXT = 999.5
"""What would be told as 1000 is told as 1.00 of the next size."""


def usd(nano_usd: int | None) -> str:
    """Exact, with at least two decimals: $1,234.50."""
    if nano_usd is None:
        return NONE
    sign = "−" if nano_usd < 0 else ""
    whole, _, fraction = format_usd(abs(nano_usd)).partition(".")
    return f"{sign}${int(whole):,}.{fraction.ljust(2, '0')}"


def usd_brief(nano_usd: int | None) -> str:
    """Rounded down to the cent, or to four digits where it is less than a cent: $0.0042."""
    if nano_usd is None:
        return NONE
    sign, amount = ("−" if nano_usd < 0 else ""), abs(nano_usd)
    unit = 10**7 if amount >= 10**7 or not amount else 10 ** max(len(str(amount)) - 4, 0)
    return sign + usd(amount // unit * unit)


def io(units: int | None) -> str:
    if units is None:
        return NONE
    whole, _, fraction = format_io(units).partition(".")
    return f"{int(whole):,}" + (f".{fraction}" if fraction else "")


def count(number: int | None) -> str:
    return NONE if number is None else f"{number:,}"


def brief(number: int) -> str:
    """Three digits that count: 1.23 M."""
    size, names = float(number), ["", " k", " M", " G", " T"]
    while size >= _NEXT and len(names) > 1:
        size, names = size / 1000, names[1:]
    if names[0] == "":
        return str(number)
    digits = 2 if size < 10 else 1 if size < 100 else 0
    return f"{size:.{digits}f}{names[0]}"


def ms(time_ns: int | None) -> str:
    if time_ns is None:
        return NONE
    return f"{time_ns / 1e6:,.1f}" if time_ns < 10**8 else f"{time_ns / 1e6:,.0f}"


def percent(part: float | None) -> str:
    return NONE if part is None else f"{100 * part:.2f}"


def when(time_ns: int | None) -> str:
    """To the second, in UTC."""
    return NONE if time_ns is None else time_text(time_ns)


def short(text: str, length: int = 12) -> str:
    return text if len(text) <= length else f"{text[:length]}…"


FILTERS: dict[str, Callable[..., Any]] = {
    "usd": usd,
    "usd_brief": usd_brief,
    "io": io,
    "count": count,
    "brief": brief,
    "ms": ms,
    "percent": percent,
    "when": when,
    "day": day_text,
    "short": short,
}

"""Figures of a run in the words that its page, its table and our documents share. Pure."""

from __future__ import annotations


def percent_text(ppm: int | None, *, sign: bool = True) -> str:
    """To the nearest tenth of a percent, half of one away from zero."""
    if ppm is None:
        return "none"
    tenths = (abs(ppm) + 500) // 1_000
    minus = ppm < 0 and tenths > 0
    return f"{'-' if minus else '+' if sign else ''}{tenths // 10}.{tenths % 10}%"


def ratio_text(ppm: int | None) -> str:
    """To the nearest thousandth, of what is not negative."""
    if ppm is None:
        return "none"
    thousandths = (ppm + 500) // 1_000
    return f"{thousandths // 1_000}.{thousandths % 1_000:03d}"

"""Percentiles and medians, and nothing clever. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from statistics import median

import msgspec


class Percentiles(msgspec.Struct, frozen=True, kw_only=True):
    """Of `count` samples; milliseconds."""

    count: int
    p50: float
    p90: float
    p99: float
    max: float


def percentiles_ms(seconds: Iterable[float]) -> Percentiles | None:
    """By nearest rank: each figure is a sample that occurred. None of nothing."""
    ordered = sorted(seconds)
    if not ordered:
        return None

    def at(percent: int) -> float:
        rank = -(-percent * len(ordered) // 100)  # rounded up
        return round(ordered[max(rank, 1) - 1] * 1000, 4)

    return Percentiles(count=len(ordered), p50=at(50), p90=at(90), p99=at(99), max=at(100))


class Spread(msgspec.Struct, frozen=True, kw_only=True):
    """The median of repeats, and how far they lie apart."""

    median: float
    low: float
    high: float


def spread(values: Collection[float]) -> Spread | None:
    """None of nothing."""
    if not values:
        return None
    return Spread(median=median(values), low=min(values), high=max(values))


def per_unit_us(cpu_s: float, units: int, *, units_min: int) -> float | None:
    """CPU microseconds a unit: the same figure as ms per 1000 or s per million.

    None if there were fewer than `units_min`: a tick of the clock would show in it.
    """
    return cpu_s / units * 1_000_000 if units >= units_min else None

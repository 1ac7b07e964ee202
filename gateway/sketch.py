"""Percentiles of many values in little memory: counts by bucket, whose bounds grow by 4%. Pure.

A percentile is the middle of its bucket, so it is off by at most `ERROR` of itself, whatever the
values are. Sketches add up bucket by bucket. One of values up to an hour in nanoseconds has at most
740 buckets, and only those that something fell into are kept.
"""

from __future__ import annotations

from math import exp, log

Sketch = dict[int, int]
"""How many values by bucket."""

GROWTH = 1.04
ERROR = GROWTH**0.5 - 1
"""2%: the largest relative error of a percentile."""
PER_E = 1 / log(GROWTH)
"""Buckets in a factor of e: the bucket of `value` is `int(log(value) * PER_E)`, for 1 and more."""


def percentile(sketch: Sketch, percent: int) -> float:
    """The value that `percent` of the values are not above. The sketch must not be empty."""
    left = -(-sum(sketch.values()) * percent // 100)
    for bucket in sorted(sketch):
        left -= sketch[bucket]
        if left <= 0:
            return exp((bucket + 0.5) / PER_E)
    raise ValueError("a percentile of nothing")


def merge(to: Sketch, other: Sketch) -> None:
    for bucket, count in other.items():
        to[bucket] = to.get(bucket, 0) + count

"""The figures that everything else is read from."""

from __future__ import annotations

import pytest
from bench.arithmetic import Spread, per_unit_us, percentiles_ms, spread


def test_a_percentile_is_a_sample_by_nearest_rank():
    found = percentiles_ms(i / 1000 for i in reversed(range(1, 101)))
    assert found is not None
    assert (found.count, found.p50, found.p90, found.p99, found.max) == (100, 50, 90, 99, 100)


@pytest.mark.parametrize(
    ("milliseconds", "p50", "p99"),
    [([7], 7, 7), ([1, 2], 1, 2), ([1, 2, 3], 2, 3), ([5] * 98 + [6, 9], 5, 6)],
)
def test_percentiles_of_few_samples(milliseconds, p50, p99):
    found = percentiles_ms([value / 1000 for value in milliseconds])
    assert found is not None
    assert (found.p50, found.p99, found.max) == (p50, p99, max(milliseconds))


def test_nothing_has_no_percentiles_and_no_spread():
    assert percentiles_ms([]) is None
    assert spread([]) is None


def test_a_spread_is_the_median_between_the_extremes():
    assert spread([9, 1, 2]) == Spread(median=2, low=1, high=9)


def test_microseconds_a_unit_are_seconds_a_million():
    assert per_unit_us(0.5, 10_000, units_min=100) == 50


def test_too_few_units_make_no_figure():
    assert per_unit_us(0.01, 99, units_min=100) is None

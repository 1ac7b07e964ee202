"""Money adds up, whatever the amounts."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from metering.money import (
    INT64_MAX,
    format_usd,
    mul_div_ceil,
    mul_div_floor,
    parse_usd,
    split_by_weight,
)

amounts = st.one_of(st.integers(0, 50), st.integers(0, INT64_MAX))


@given(amounts, st.lists(amounts, min_size=1, max_size=30).filter(any))
def test_a_split_sums_to_the_whole_and_no_part_is_off_by_a_unit(total, weights):
    parts = split_by_weight(total, weights)
    assert sum(parts) == total
    for part, weight in zip(parts, weights, strict=True):
        assert abs(part - Fraction(total * weight, sum(weights))) < 1
        assert weight or not part


@given(st.integers(-(10**9), 10**9), st.integers(-(10**9), 10**9), st.integers(1, 10**9))
def test_floor_and_ceil_enclose_the_exact_quotient(a, b, divisor):
    exact = Fraction(a * b, divisor)
    floor, ceil = mul_div_floor(a, b, divisor), mul_div_ceil(a, b, divisor)
    assert floor <= exact <= ceil
    assert ceil - floor == (exact.denominator != 1)


@given(amounts)
def test_what_is_written_is_read_back(nano_usd):
    assert parse_usd(format_usd(nano_usd)) == nano_usd

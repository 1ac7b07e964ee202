"""Reading, writing and dividing amounts, by tables."""

from __future__ import annotations

import pytest

from metering.money import (
    INT64_MAX,
    MoneyError,
    checked,
    format_io,
    format_usd,
    mul_div_ceil,
    mul_div_floor,
    parse_price_per_million,
    parse_usd,
    split_by_weight,
)


@pytest.mark.parametrize(
    ("text", "nano_usd"),
    [
        ("0", 0),
        ("1", 10**9),
        ("1.50", 1_500_000_000),
        ("0.000000001", 1),
        ("0.0000000010000", 1),
        ("9223372036.854775807", INT64_MAX),
    ],
)
def test_usd_is_read_exactly(text, nano_usd):
    assert parse_usd(text) == nano_usd


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no amount"),
        ("-1", "no amount"),
        ("+1", "no amount"),
        ("1.", "no amount"),
        (".5", "no amount"),
        ("1e3", "no amount"),
        ("1,50", "no amount"),
        (" 1", "no amount"),
        ("1\n", "no amount"),
        ("١", "no amount"),
        ("0.0000000001", "finer than USD is counted"),
        ("9223372036.854775808", "64 bits"),
        ("99999999999999999999", "no amount"),
    ],
)
def test_what_is_no_amount_is_refused_and_the_message_says_why(text, why):
    with pytest.raises(MoneyError, match=why):
        parse_usd(text)


@pytest.mark.parametrize(
    ("nano_usd", "text"),
    [(0, "0"), (1, "0.000000001"), (1_500_000_000, "1.5"), (-250_000_000, "-0.25"), (10**10, "10")],
)
def test_usd_is_written_without_trailing_zeros(nano_usd, text):
    assert format_usd(nano_usd) == text


def test_io_has_eight_decimals():
    assert format_io(123_456_789) == "1.23456789"


@pytest.mark.parametrize(("text", "nano_usd"), [("0.20", 200), ("0.001", 1), ("15", 15_000)])
def test_a_price_for_a_million_is_whole_nano_usd_for_one(text, nano_usd):
    assert parse_price_per_million(text) == nano_usd


def test_a_price_that_is_not_whole_is_refused():
    with pytest.raises(MoneyError, match="at most 3 decimals"):
        parse_price_per_million("0.0001")


def test_division_says_where_it_rounds():
    assert (mul_div_floor(7, 3, 2), mul_div_ceil(7, 3, 2)) == (10, 11)
    assert (mul_div_floor(-7, 3, 2), mul_div_ceil(-7, 3, 2)) == (-11, -10)


def test_a_product_beyond_64_bits_is_fine_if_the_quotient_is_not():
    assert mul_div_floor(INT64_MAX, INT64_MAX, INT64_MAX) == INT64_MAX
    with pytest.raises(MoneyError, match="64 bits"):
        mul_div_floor(INT64_MAX, 2, 1)


@pytest.mark.parametrize("divide", [mul_div_floor, mul_div_ceil])
@pytest.mark.parametrize("divisor", [0, -1])
def test_a_divisor_is_positive(divide, divisor):
    with pytest.raises(MoneyError, match="divisor"):
        divide(1, 1, divisor)


def test_checked_lets_through_what_fits():
    assert checked(INT64_MAX) == INT64_MAX
    with pytest.raises(MoneyError, match="64 bits"):
        checked(INT64_MAX + 1)


@pytest.mark.parametrize(
    ("total", "weights", "parts"),
    [
        (10, [1, 1, 1], [4, 3, 3]),
        (1, [0, 5, 5], [0, 1, 0]),
        (100, [1, 2, 97], [1, 2, 97]),
        (5, [3, 3, 1], [2, 2, 1]),
        (0, [], []),
        (0, [0, 0], [0, 0]),
    ],
)
def test_a_split_goes_to_the_largest_remainders(total, weights, parts):
    assert split_by_weight(total, weights) == parts


@pytest.mark.parametrize(("total", "weights"), [(1, []), (1, [0]), (-1, [1]), (1, [2, -1])])
def test_what_cannot_be_split_is_refused(total, weights):
    with pytest.raises(MoneyError):
        split_by_weight(total, weights)

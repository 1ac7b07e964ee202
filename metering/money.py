"""Amounts of money as integers, and the only ways to divide, split, read and write them.

USD is counted in nano-USD (1e-9 USD): a price of 0.20 USD for a million tokens is then exactly
200 a token, so a cost needs no rounding. IO is counted in base units of `IO_DECIMALS` decimals.
Every amount fits a signed 64-bit integer, as the ledger's columns do.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

USD_DECIMALS = 9
USD_UNIT = 10**USD_DECIMALS
"""Nano-USD in one USD."""

IO_DECIMALS = 8
IO_UNIT = 10**IO_DECIMALS
"""Base units in one IO."""

INT64_MAX = 2**63 - 1

PPM = 1_000_000
"""Millionths in a whole: what shares and discounts are counted in."""

_PERCENT_DECIMALS = 4
_TOKENS_PER_PRICE = 1_000_000
_AMOUNT = re.compile(r"([0-9]{1,19})(?:\.([0-9]{1,40}))?", re.ASCII)


class MoneyError(ValueError):
    """An amount that cannot be read, or that does not fit 64 bits."""


def checked(amount: int) -> int:
    """The amount itself. Raises MoneyError if it does not fit a signed 64-bit integer."""
    if not -INT64_MAX <= amount <= INT64_MAX:
        raise MoneyError(f"{amount} does not fit the ledger's 64 bits")
    return amount


def mul_div_floor(a: int, b: int, divisor: int) -> int:
    """a * b / divisor, rounded down (towards minus infinity). The product may exceed 64 bits."""
    if divisor <= 0:
        raise MoneyError(f"the divisor must be positive, not {divisor}")
    return checked(a * b // divisor)


def mul_div_ceil(a: int, b: int, divisor: int) -> int:
    """a * b / divisor, rounded up (towards plus infinity). The product may exceed 64 bits."""
    if divisor <= 0:
        raise MoneyError(f"the divisor must be positive, not {divisor}")
    return checked(-(-a * b // divisor))


def split_by_weight(total: int, weights: Sequence[int]) -> list[int]:
    """Parts of `total` in proportion to the weights, which sum to it exactly.

    Each part is its exact share rounded down; what is left goes unit by unit to the largest
    remainders, the earlier part first where they are equal.
    Raises MoneyError if an argument is negative, or if there is something to split and no weight.
    """
    if total < 0 or min(weights, default=0) < 0:
        raise MoneyError("neither a total nor a weight may be negative")
    whole = sum(weights)
    if whole == 0:
        if total:
            raise MoneyError(f"nobody has any weight to take part in {total}")
        return [0] * len(weights)
    checked(total)
    parts = [total * weight // whole for weight in weights]
    left = total - sum(parts)
    if left:
        remainders = [total * weight % whole for weight in weights]
        largest_first = sorted(range(len(weights)), key=remainders.__getitem__, reverse=True)
        for i in largest_first[:left]:
            parts[i] += 1
    return parts


def parse_usd(text: str) -> int:
    """Nano-USD of a text such as "1.50". Raises MoneyError, also for what is finer than nano."""
    return _parse(text, USD_DECIMALS, "USD")


def format_usd(nano_usd: int) -> str:
    """1_500_000_000 as "1.5": exact, without trailing zeros."""
    return _format(nano_usd, USD_DECIMALS)


def format_io(base_units: int) -> str:
    """150_000_000 as "1.5"."""
    return _format(base_units, IO_DECIMALS)


def parse_io(text: str) -> int:
    """Base units of a text such as "1.50". Raises MoneyError, also for what is finer."""
    return _parse(text, IO_DECIMALS, "IO")


def parse_percent(text: str) -> int:
    """Millionths of a text such as "2.5", which is 25,000. Raises MoneyError above 100."""
    ppm = _parse(text, _PERCENT_DECIMALS, "percent")
    if ppm > 100 * 10**_PERCENT_DECIMALS:
        raise MoneyError(f"'{text}' is more than 100 percent")
    return ppm


def parse_price_per_million(text: str) -> int:
    """Nano-USD for one token out of USD for a million: "0.20" is 200.

    Raises MoneyError where a token would not cost a whole number of nano-USD.
    """
    price_nano_usd, rest = divmod(parse_usd(text), _TOKENS_PER_PRICE)
    if rest:
        raise MoneyError(
            f"'{text}' USD for a million tokens is no whole number of nano-USD a token: "
            "give at most 3 decimals"
        )
    return price_nano_usd


def _parse(text: str, decimals: int, unit: str) -> int:
    match = _AMOUNT.fullmatch(text)
    if match is None:
        raise MoneyError(f"'{text}' is no amount of {unit}: write it like 12.50")
    whole, fraction = match[1], (match[2] or "").rstrip("0")
    if len(fraction) > decimals:
        raise MoneyError(f"'{text}' is finer than {unit} is counted: {decimals} decimals")
    return checked(int(whole) * 10**decimals + int(fraction.ljust(decimals, "0")))


def _format(amount: int, decimals: int) -> str:
    whole, fraction = divmod(abs(amount), 10**decimals)
    sign = "-" if amount < 0 else ""
    return f"{sign}{whole}.{fraction:0{decimals}d}".rstrip("0").rstrip(".")

"""What is left of an epoch's fees, and how much of it buys IO back and burns it.

The share to burn becomes due at once and is spent when there is a price; until then it waits in
the Fee Vault and pays nobody, so no surplus can slip past the burn for want of a price.
"""

from __future__ import annotations

from ide.params import IdeParams
from metering.money import IO_UNIT, PPM, mul_div_ceil, mul_div_floor


def surplus_nano_usd(revenue: int, usd_paid: int, spendable_after: int) -> int:
    """The epoch's fees less what they paid out, as far as the Fee Vault is above its floor."""
    return max(0, min(revenue - usd_paid, spendable_after))


def burn_share_ppm(reserve: int, obligation_a_month: int, params: IdeParams) -> int:
    """Share of a surplus to burn: it rises evenly to all of it as the reserve passes its target.

    Without any obligation there is no month to measure the reserve by: the least share holds.
    """
    least = params.burn_share_ppm
    low = params.reserve_low_months * obligation_a_month
    high = params.reserve_high_months * obligation_a_month
    if reserve <= low or obligation_a_month == 0:
        return least
    if reserve >= high:
        return PPM
    return least + (PPM - least) * (reserve - low) // (high - low)


def burn_share_nano_usd(surplus: int, share_ppm: int) -> int:
    """The part of the surplus to burn, rounded up so that it is never below its share."""
    return mul_div_ceil(surplus, share_ppm, PPM)


def buy_back(due_nano_usd: int, price: int, circulating_io: int) -> tuple[int, int]:
    """(nano-USD spent, IO bought) at `price` per whole IO; never more IO than circulates.

    The IO is floored and all that is due is spent on it, unless it does not buy one base unit
    (nothing is spent) or buys all that circulates (the rest stays due).
    """
    if due_nano_usd * IO_UNIT >= (circulating_io + 1) * price:
        return mul_div_ceil(circulating_io, price, IO_UNIT), circulating_io
    bought = mul_div_floor(due_nano_usd, IO_UNIT, price)
    return (due_nano_usd if bought else 0), bought

"""Who is owed how much, and what each vault pays of it.

Rounding: IO is floored to the base unit in the payee's disfavour, and what is lost to that (less
than the price of one base unit for each payee) counts as met; the IO itself stays in the Reward
Vault. A vault that cannot pay all pays pro rata by largest remainder, so parts sum to the whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from ide.epoch import SupplierUsage
from ide.params import PPB, PPM, IdeParams, TokenRate
from ide.state import IdeState
from metering.money import IO_UNIT, mul_div_ceil, mul_div_floor, split_by_weight


class IoPayment(NamedTuple):
    """What the Reward Vault pays, one entry per payee in each list."""

    needed_io: int
    released_io: int
    io: list[int]
    value_nano_usd: list[int]
    rounding_nano_usd: list[int]


def obligations(usage: Iterable[SupplierUsage], params: IdeParams) -> dict[str, int]:
    """Nano-USD each supplier earned: its tokens at their rates, or its share of the list cost."""
    rates = {rate.model: rate for rate in params.token_rates}
    owed: dict[str, int] = {}
    for row in usage:
        earned = _earned_nano_usd(row, rates, params.usage_share_ppm)
        owed[row.supplier_id] = owed.get(row.supplier_id, 0) + earned
    return owed


def _earned_nano_usd(row: SupplierUsage, rates: Mapping[str, TokenRate], share_ppm: int) -> int:
    rate = rates.get(row.model)
    if rate is None:
        return mul_div_floor(row.cost_nano_usd, share_ppm, PPM)
    return (
        row.prompt_tokens * rate.prompt_nano_usd + row.completion_tokens * rate.completion_nano_usd
    )


def releasable_io(state: IdeState, params: IdeParams) -> int:
    """Unemitted IO that may still be released: all but what is yet to be retired."""
    kept = max(0, params.retire_target_io - state.retired_unemitted_io)
    return max(0, state.unemitted_io - kept)


def release_limit_io(state: IdeState, params: IdeParams) -> int:
    """The most IO that the Reward Vault may pay out in one epoch."""
    pool = state.reward_vault_io + releasable_io(state, params)
    return mul_div_floor(pool, params.release_ppb_per_hour * params.epoch_s, PPB * 3_600)


def pay_io(owed: list[int], limit_io: int, vault_io: int, price: int, cap_io: int) -> IoPayment:
    """Pay what is owed in IO at `price` (nano-USD per whole IO), `limit_io` at most in all.

    `needed_io` is the whole obligation in IO, never reported above `cap_io`. IO is released into
    the vault only for what its own balance, `vault_io`, does not cover.
    """
    total = sum(owed)
    if total * IO_UNIT < (limit_io + 1) * price:
        needed = budget = mul_div_floor(total, IO_UNIT, price)
        io = [mul_div_floor(usd, IO_UNIT, price) for usd in owed]
        value = [mul_div_ceil(units, price, IO_UNIT) for units in io]
        rounding = [usd - worth for usd, worth in zip(owed, value, strict=True)]
    else:
        covered = cap_io * price <= total * IO_UNIT
        needed = cap_io if covered else mul_div_floor(total, IO_UNIT, price)
        budget = limit_io
        io = [
            units if units * price <= usd * IO_UNIT else units - 1
            for units, usd in zip(split_by_weight(limit_io, owed), owed, strict=True)
        ]
        value = [mul_div_ceil(units, price, IO_UNIT) for units in io]
        rounding = [0] * len(owed)
    return IoPayment(needed, max(0, budget - vault_io), io, value, rounding)


def pay_usd(owed: list[int], spendable_nano_usd: int) -> list[int]:
    """Pay what is owed in nano-USD, pro rata where the sum is above `spendable_nano_usd`."""
    if sum(owed) <= spendable_nano_usd:
        return owed
    return split_by_weight(spendable_nano_usd, owed)

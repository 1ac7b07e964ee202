"""Who is owed how much, and what each vault pays of it.

Rounding: IO is floored to the base unit in the payee's disfavour, and what is lost to that (less
than the price of one base unit for each payee) counts as met; the IO itself stays in the Reward
Vault. A vault that cannot pay all pays pro rata by largest remainder, so parts sum to the whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from operator import sub

import msgspec

from ide.epoch import SupplierTime, UsageColumns
from ide.params import HOUR_S, PPB, IdeParams, stipend_rates
from ide.state import IdeState
from metering.money import IO_UNIT, PPM, checked, mul_div_floor, split_by_weight


class Earned(msgspec.Struct, frozen=True, gc=False):
    """Nano-USD earned in an epoch: by supplier, in order, for being available; the same with what
    tokens earned; and the part of the latter that goes by customers' list prices."""

    stipend: Mapping[str, int]
    obligation: Mapping[str, int]
    list_share: int


class IoPayment(msgspec.Struct, frozen=True, gc=False):
    """What the Reward Vault pays and what is left to pay, one entry per payee in each list, or an
    empty list where it is 0 for all."""

    needed_io: int
    released_io: int
    io: list[int]
    value_nano_usd: list[int]
    rounding_nano_usd: list[int]
    left_nano_usd: list[int]


def earned(
    usage: UsageColumns, availability: tuple[SupplierTime, ...], params: IdeParams
) -> Earned:
    """Stipend: rate of the class x verified GPU time x quality. Usage: the tokens at their rates,
    else a share of their list cost. Each row is rounded down."""
    rates = {rate.model: rate for rate in params.token_rates}
    stipends = _stipends(availability, params)
    obligations = {**stipends}
    list_share = 0
    for supplier, model, prompts, completions, cost in zip(
        usage.supplier_id,
        usage.model,
        usage.prompt_tokens,
        usage.completion_tokens,
        usage.cost_nano_usd,
        strict=True,
    ):
        if (rate := rates.get(model)) is None:
            value = cost * params.usage_share_ppm // PPM
            list_share += value
        else:
            value = prompts * rate.prompt_nano_usd + completions * rate.completion_nano_usd
        obligations[supplier] = obligations.get(supplier, 0) + value
    return Earned(stipends, obligations, list_share)


@lru_cache(maxsize=4)
def _stipends(availability: tuple[SupplierTime, ...], params: IdeParams) -> Mapping[str, int]:
    """Kept, since the same fleet is often there for many epochs on end."""
    hourly = stipend_rates(params)
    stipends: dict[str, int] = {}
    for row in availability:
        value = hourly.get(row.gpu_class, 0) * row.gpu_s * row.quality_ppm // PPM // HOUR_S
        stipends[row.supplier_id] = stipends.get(row.supplier_id, 0) + value
    return dict(sorted(stipends.items()))


def releasable_io(state: IdeState, params: IdeParams) -> int:
    """Unemitted IO that may still be released: all but what is yet to be retired."""
    return state.unemitted_io - _to_retire_io(state, params)


def release_limit_io(state: IdeState, params: IdeParams) -> int:
    """The most IO that the Reward Vault may pay out in one epoch."""
    pool = state.reward_vault_io + releasable_io(state, params)
    return mul_div_floor(pool, params.release_ppb_per_hour * params.epoch_s, PPB * HOUR_S)


def retired_io(state: IdeState, params: IdeParams) -> int:
    """What of the IO that must never be emitted leaves the pool for good in one epoch."""
    kept = _to_retire_io(state, params)
    return mul_div_floor(kept, params.retire_ppb_per_hour * params.epoch_s, PPB * HOUR_S)


def _to_retire_io(state: IdeState, params: IdeParams) -> int:
    kept = params.retire_target_io - state.retired_unemitted_io
    if kept <= 0:
        return 0
    return kept if kept < state.unemitted_io else state.unemitted_io


def pay_io(owed: list[int], limit_io: int, vault_io: int, price: int, cap_io: int) -> IoPayment:
    """Pay what is owed in IO at `price` (nano-USD per whole IO), `limit_io` at most in all.

    `needed_io` is the whole obligation in IO, never reported above `cap_io`. IO is released into
    the vault only for what its own balance, `vault_io`, does not cover.
    """
    total = sum(owed)
    if total * IO_UNIT < (limit_io + 1) * price:
        needed = budget = checked(total * IO_UNIT // price)
        io = [usd * IO_UNIT // price for usd in owed]
        value = _worth(io, price)
        rounding, left = list(map(sub, owed, value)), []
    else:
        covered = cap_io * price <= total * IO_UNIT
        needed = cap_io if covered else mul_div_floor(total, IO_UNIT, price)
        budget = limit_io
        io = _split_limit(limit_io, owed, total, price)
        value = _worth(io, price)
        rounding, left = [], list(map(sub, owed, value))
    return IoPayment(needed, max(0, budget - vault_io), io, value, rounding, left)


def _worth(io: list[int], price: int) -> list[int]:
    """Nano-USD that each amount is worth, rounded up."""
    less_than_one = IO_UNIT - 1
    return [(units * price + less_than_one) // IO_UNIT for units in io]


def _split_limit(limit_io: int, owed: list[int], total: int, price: int) -> list[int]:
    """Shares of the limit by largest remainder, but never a base unit worth more than is owed."""
    io, remainders = [], []
    for usd in owed:
        share, remainder = divmod(limit_io * usd, total)
        io.append(share)
        remainders.append(remainder)
    left = limit_io - sum(io)
    if left:
        one_more = sorted(range(len(owed)), key=remainders.__getitem__, reverse=True)[:left]
        # Whoever is owed this much has room for one more, without asking.
        enough = price * total // (total * IO_UNIT - limit_io * price) + 1
        if min(owed) < enough:
            one_more = [i for i in one_more if (io[i] + 1) * price <= owed[i] * IO_UNIT]
        for i in one_more:
            io[i] += 1
    return io


def pay_usd(owed: list[int], spendable_nano_usd: int) -> tuple[list[int], list[int]]:
    """What is paid in nano-USD and what stays unpaid: all and nothing (an empty list), or pro rata
    where the sum is above `spendable_nano_usd`."""
    if sum(owed) <= spendable_nano_usd:
        return owed, []
    paid = split_by_weight(spendable_nano_usd, owed)
    return paid, list(map(sub, owed, paid))

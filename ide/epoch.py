"""What goes into one epoch and what comes out of it, as plain records."""

from __future__ import annotations

import msgspec

from ide.params import PaymentOrder
from ide.state import IdeState


class SupplierUsage(msgspec.Struct, frozen=True, kw_only=True):
    """What one supplier's nodes served of one model in the epoch.

    `cost_nano_usd` is the list price of it, `charged_nano_usd` what customers really paid: the
    second is the revenue, so that nothing is burned that was never collected.
    """

    supplier_id: str
    model: str
    prompt_tokens: int
    completion_tokens: int
    cost_nano_usd: int
    charged_nano_usd: int
    charges: int


class EpochInputs(msgspec.Struct, frozen=True, kw_only=True):
    """All that an epoch learns from outside: the usage, and the price of one whole IO."""

    usage: tuple[SupplierUsage, ...]
    io_price_nano_usd: int | None


class Payout(msgspec.Struct, frozen=True, kw_only=True):
    """One supplier's epoch: obligation + debt before
    = value of the IO paid + rounding + USD paid + unpaid."""

    supplier_id: str
    obligation_nano_usd: int
    debt_before_nano_usd: int
    io_paid: int
    io_value_nano_usd: int
    usd_paid_nano_usd: int
    rounding_nano_usd: int
    unpaid_nano_usd: int


class EpochReport(msgspec.Struct, frozen=True, kw_only=True):
    """Every figure of one epoch. `io_price_nano_usd` is None where no IO could be priced.

    `psi_raw_ppm` is revenue over obligation in millionths, None where nothing was owed.
    """

    epoch: int
    params_version: str
    order: PaymentOrder
    io_price_nano_usd: int | None
    prompt_tokens: int
    completion_tokens: int
    list_cost_nano_usd: int
    revenue_nano_usd: int
    obligation_nano_usd: int
    debt_before_nano_usd: int
    psi_raw_ppm: int | None
    io_needed: int
    io_limit: int
    io_released: int
    io_paid: int
    io_value_nano_usd: int
    rounding_nano_usd: int
    usd_spendable_nano_usd: int
    usd_paid_nano_usd: int
    unpaid_nano_usd: int
    debt_after_nano_usd: int
    surplus_nano_usd: int
    buyback_added_nano_usd: int
    buyback_spent_nano_usd: int
    io_burned: int
    payouts: tuple[Payout, ...]


class EpochResult(msgspec.Struct, frozen=True, kw_only=True):
    """The state after the epoch, and the report of how it came about."""

    state: IdeState
    report: EpochReport

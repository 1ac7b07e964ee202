"""What goes into one epoch and what comes out of it, as plain records."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum
from itertools import repeat
from typing import NamedTuple

import msgspec

from ide.params import PaymentOrder
from ide.state import IdeState


class SupplierUsage(msgspec.Struct, frozen=True, gc=False):
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


class UsageColumns(NamedTuple):
    """The usage of an epoch as columns: one for each field of `SupplierUsage`, in its order, with
    an entry for each row."""

    supplier_id: tuple[str, ...]
    model: tuple[str, ...]
    prompt_tokens: Sequence[int]
    completion_tokens: Sequence[int]
    cost_nano_usd: Sequence[int]
    charged_nano_usd: Sequence[int]
    charges: Sequence[int]

    @classmethod
    def of(cls, rows: Iterable[SupplierUsage]) -> UsageColumns:
        """The columns of these rows."""
        columns = tuple(zip(*map(msgspec.structs.astuple, rows), strict=True))
        return cls(*columns) if columns else NO_USAGE


NO_USAGE = UsageColumns((), (), (), (), (), (), ())


class SupplierTime(msgspec.Struct, frozen=True, gc=False, cache_hash=True):
    """How long one supplier's GPUs of one class were verified to be there, and how good they were.

    `gpu_s` is seconds times GPUs, `quality_ppm` the part of the stipend that they earned.
    """

    supplier_id: str
    gpu_class: str
    gpu_s: int
    quality_ppm: int


class SlashBurn(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Slashed IO whose month of appeal is over. `hold_id` is the transfer that took it."""

    hold_id: str
    device: str
    io: int


class Outside(msgspec.Struct, frozen=True, kw_only=True):
    """What an epoch learns beside usage: the price of a whole IO, availability, and slashes that
    are final.

    `gpu_time_to` is the last period of verified GPU time that some epoch has paid for.
    """

    io_price_nano_usd: int | None
    availability: tuple[SupplierTime, ...] = ()
    gpu_time_to: int = 0
    slashed: tuple[SlashBurn, ...] = ()


class EpochInputs(Outside, frozen=True, kw_only=True):
    """All that an epoch learns: what it is stored with, and replayed from."""

    usage: tuple[SupplierUsage, ...]


class Payout(msgspec.Struct, frozen=True, gc=False):
    """One supplier's epoch: obligation + debt before
    = value of the IO paid + USD paid + rounding + unpaid.

    `stipend_nano_usd` is the part of the obligation that was earned by being available. Made by
    position out of `PayoutColumns`: in half the time, for each supplier of each epoch.
    """

    supplier_id: str
    stipend_nano_usd: int
    obligation_nano_usd: int
    debt_before_nano_usd: int
    io_paid: int
    io_value_nano_usd: int
    usd_paid_nano_usd: int
    rounding_nano_usd: int
    unpaid_nano_usd: int


class PayoutColumns(NamedTuple):
    """The payouts of an epoch before they are rows: a list for each field of `Payout`, in its
    order, with an entry for each supplier; empty where it is 0 for all of them."""

    supplier_id: list[str]
    stipend_nano_usd: list[int]
    obligation_nano_usd: list[int]
    debt_before_nano_usd: list[int]
    io_paid: list[int]
    io_value_nano_usd: list[int]
    usd_paid_nano_usd: list[int]
    rounding_nano_usd: list[int]
    unpaid_nano_usd: list[int]

    def rows(self) -> tuple[Payout, ...]:
        """The payouts themselves."""
        suppliers, *amounts = self
        return tuple(map(Payout, suppliers, *(column or repeat(0) for column in amounts)))

    def together(self) -> Payout:
        """All of them added up, as a payout to nobody."""
        return Payout("", *map(sum, self[1:]))


class Alarm(StrEnum):
    """What an epoch warns of. All but `UNPAID` say so before it comes to that."""

    PSI_BELOW_ONE = "psi_below_one"
    RUNWAY_SHORT = "runway_short"
    NO_PRICE = "no_price"
    UNPAID = "unpaid"


class Proposal(msgspec.Struct, frozen=True, kw_only=True):
    """What would bring psi back to 1: any one of four levers, None where one alone cannot.

    A proposal changes nothing by itself: whoever decides writes new parameters or prices.
    `customer_prices_ppm` is what to multiply the customers' prices by.
    """

    psi_smoothed_ppm: int
    deficit_days: int
    missing_nano_usd_per_month: int
    hardware_nano_usd: int | None
    target_roi_ppm_per_year: int | None
    usage_share_ppm: int | None
    customer_prices_ppm: int | None


class EpochReport(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Every figure of one epoch. `io_price_nano_usd` is None where no IO could be priced.

    `io_burned` includes `io_slashed`, which nobody bought; the latter is left out where there is
    none, so that the reports of epochs before there were slashes stay what they are.

    `psi_raw_ppm` is revenue over obligation in millionths, None where nothing was owed.
    `reserve_nano_usd` is what the Fee Vault could spend before the epoch's revenue came in.
    `runway_months` is how long all can be paid if nothing changes, RUNWAY_MONTHS_MAX at most.
    """

    epoch: int
    params_version: str
    order: PaymentOrder
    io_price_nano_usd: int | None
    prompt_tokens: int
    completion_tokens: int
    list_cost_nano_usd: int
    revenue_nano_usd: int
    stipend_nano_usd: int
    obligation_nano_usd: int
    debt_before_nano_usd: int
    psi_raw_ppm: int | None
    psi_smoothed_ppm: int | None
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
    reserve_nano_usd: int
    burn_share_ppm: int
    surplus_nano_usd: int
    buyback_added_nano_usd: int
    buyback_spent_nano_usd: int
    io_burned: int
    io_retired: int
    runway_months: int
    alarms: tuple[Alarm, ...]
    proposal: Proposal | None
    payouts: tuple[Payout, ...]
    io_slashed: int = 0

    @property
    def io_bought(self) -> int:
        """What was bought back, all of which is burned."""
        return self.io_burned - self.io_slashed


class EpochResult(msgspec.Struct, frozen=True, kw_only=True):
    """The state after the epoch, and the report of how it came about."""

    state: IdeState
    report: EpochReport

"""What must hold before and after every epoch, whoever asks: step, settlement or a test."""

from __future__ import annotations

from functools import lru_cache
from itertools import chain, pairwise
from operator import add, attrgetter

import msgspec

from ide.epoch import (
    EpochReport,
    EpochResult,
    Outside,
    Payout,
    PayoutColumns,
    SlashBurn,
    SupplierTime,
    UsageColumns,
)
from ide.params import IdeParams, ShortfallRule
from ide.state import IdeState, Smoothed
from metering.money import INT64_MAX, IO_UNIT, PPM


class InvariantError(Exception):
    """A value that cannot be: names the rule and its figures. Nothing may be posted after one."""


class Books(msgspec.Struct, frozen=True, kw_only=True):
    """What the ledger says of the accounts that the engine moves. Units as in `IdeState`."""

    issued_io: int
    unemitted_io: int
    reward_vault_io: int
    circulating_io: int
    treasury_io: int
    """What customers paid in IO: to the engine it still circulates."""
    supplier_io: int
    stake_io: int
    """Behind devices, or slashed and held for appeal: to the engine it circulates too."""
    exchange_io: int
    burned_io: int
    retired_io: int
    fee_vault_nano_usd: int

    @property
    def supply_io(self) -> int:
        """All IO on the ledger: what was issued, or the books are not the ledger's."""
        held = _held_io(self)
        vaults = self.unemitted_io + self.reward_vault_io
        return vaults + held + self.burned_io + self.retired_io


def check_amount(what: str, amount: int) -> None:
    """Refuse an amount that is negative or does not fit the ledger's 64 bits."""
    if not 0 <= amount <= INT64_MAX:
        raise InvariantError(f"{what} is {amount}: an amount is 0 to {INT64_MAX}")


@lru_cache(maxsize=2)
def check_state(state: IdeState, params: IdeParams) -> None:
    """Every balance is an amount, the IO adds up to the cap, debts are sorted and real. Once for
    the state that one epoch ends and the next starts with: what raises is not kept."""
    _check_amounts("state.", _BALANCE_NAMES, _BALANCES(state))
    _equal("cap of the state", state.cap_io, "cap of the parameters", params.cap_io)
    _equal("IO of all holders", supply_io(state), "cap", state.cap_io)
    _at_most("buyback due", state.buyback_due_nano_usd, "Fee Vault", state.fee_vault_nano_usd)
    if state.smoothed:
        amounts = msgspec.structs.astuple(state.smoothed)
        _check_amounts("smoothed ", Smoothed.__struct_fields__, amounts)
    if not state.debts:
        return
    for debt in state.debts:
        if debt.nano_usd <= 0:
            raise InvariantError(f"debt to {debt.supplier_id} is {debt.nano_usd}: leave it out")
    check_amount("all debts", _debts(state))
    suppliers = [debt.supplier_id for debt in state.debts]
    if any(this >= following for this, following in pairwise(suppliers)):
        raise InvariantError("debts are not in rising order of supplier, each once")


def _check_amounts(what: str, names: tuple[str, ...], amounts: tuple[int, ...]) -> None:
    if min(amounts) < 0 or max(amounts) > INT64_MAX:
        for name, amount in zip(names, amounts, strict=True):
            check_amount(f"{what}{name}", amount)


def supply_io(state: IdeState) -> int:
    """All IO there is, in base units: equal to the cap, or something is wrong."""
    return (
        state.unemitted_io
        + state.reward_vault_io
        + state.circulating_io
        + state.supplier_io
        + state.burned_circulating_io
        + state.retired_unemitted_io
    )


class InputTotals(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What an epoch's usage adds up to, and what was slashed."""

    prompt_tokens: int
    completion_tokens: int
    list_cost_nano_usd: int
    revenue_nano_usd: int
    slashed_io: int


def check_inputs(state: IdeState, usage: UsageColumns, outside: Outside) -> InputTotals:
    """Every input is an amount, no (supplier, model) and no slash comes twice, the revenue fits the
    vault, and what was slashed circulated.
    """
    suppliers, models, *columns = usage
    _check_keys("usage", "model", suppliers, models)
    totals = list(map(sum, columns))
    if suppliers and (min(chain(*columns)) < 0 or max(totals) > INT64_MAX):
        for name, column, total in zip(_USAGE_NAMES, columns, totals, strict=True):
            check_amount(f"the least {name} of all usage", min(column))
            check_amount(f"{name} of all usage", total)
    if outside.availability:
        _check_availability(outside.availability)
    if outside.io_price_nano_usd is not None:
        check_amount("price of IO", outside.io_price_nano_usd)
    prompt_tokens, completion_tokens, list_cost, revenue, _ = totals
    found = InputTotals(
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
        list_cost_nano_usd=list_cost,
        revenue_nano_usd=revenue,
        slashed_io=_slashed_io(state, outside.slashed) if outside.slashed else 0,
    )
    vault = state.fee_vault_nano_usd + found.revenue_nano_usd
    check_amount("Fee Vault with the epoch's revenue", vault)
    return found


def _slashed_io(state: IdeState, rows: tuple[SlashBurn, ...]) -> int:
    if len({row.hold_id for row in rows}) < len(rows):
        raise InvariantError("a slash comes twice: it burns once")
    if (least := min(row.io for row in rows)) <= 0:
        raise InvariantError(f"a slash of {least} base units: leave it out")
    slashed = sum(row.io for row in rows)
    _at_most("IO slashed", slashed, "circulating", state.circulating_io)
    return slashed


@lru_cache(maxsize=4)
def _check_availability(rows: tuple[SupplierTime, ...]) -> None:
    """Once for the same rows: what raises is not kept, so it raises again."""
    suppliers, classes, seconds, quality = zip(*map(msgspec.structs.astuple, rows), strict=True)
    _check_keys("availability", "GPU class", suppliers, classes)
    check_amount("the least gpu_s of all availability", min(seconds))
    check_amount("gpu_s of all availability", sum(seconds))
    if min(quality) < 0 or max(quality) > PPM:
        raise InvariantError(
            f"quality_ppm is {min(quality)} to {max(quality)}: 0 to {PPM} it may be"
        )


@lru_cache(maxsize=4)
def _check_keys(what: str, key: str, suppliers: tuple[str, ...], keys: tuple[str, ...]) -> None:
    """Once for the same names, as are those of many epochs on end."""
    if len(set(zip(suppliers, keys, strict=True))) < len(suppliers):
        raise InvariantError(f"{what} has two rows for one supplier and {key}: add them up first")
    if "" in suppliers:
        raise InvariantError(f"{what} has a row that names no supplier")


def check_epoch(
    before: IdeState,
    totals: InputTotals,
    params: IdeParams,
    result: EpochResult,
    columns: PayoutColumns,
    sums: Payout,
) -> None:
    """Nothing came from nowhere: conservation of IO, USD and debt across one epoch. `columns` is
    what the result's payouts were made of, `sums` what they add up to."""
    check_state(result.state, params)
    _check_moves(before, totals.revenue_nano_usd, result)
    _equal("IO slashed", totals.slashed_io, "burned of it", result.report.io_slashed)
    _check_release(before, params, result)
    _check_payouts(columns, sums, result.report)
    _check_debts(before, params, result)
    _check_burn(before, params, result.report)


def _check_moves(before: IdeState, revenue: int, result: EpochResult) -> None:
    after, report = result.state, result.report
    spent = report.usd_paid_nano_usd + report.buyback_spent_nano_usd
    left_pool = report.io_released + report.io_retired
    expected = (
        before.epoch + 1,
        before.unemitted_io - left_pool,
        before.supplier_io + report.io_paid,
        before.circulating_io - report.io_burned,
        before.burned_circulating_io + report.io_burned,
        before.retired_unemitted_io + report.io_retired,
        before.fee_vault_nano_usd + revenue - spent,
    )
    if (found := _MOVED(after)) != expected:
        for name, should_be, is_now in zip(_MOVED_NAMES, expected, found, strict=True):
            _equal(f"{name} expected", should_be, "found", is_now)


def _check_release(before: IdeState, params: IdeParams, result: EpochResult) -> None:
    report = result.report
    _at_most("IO paid", report.io_paid, "release limit", report.io_limit)
    _at_most("IO released", report.io_released, "release limit", report.io_limit)
    kept = min(before.unemitted_io, params.retire_target_io - before.retired_unemitted_io)
    left = result.state.unemitted_io + report.io_retired
    _at_most("IO never to be emitted", kept, "unemitted pool", left)
    _at_most("IO retired", report.io_retired, "IO never to be emitted", max(0, kept))
    if report.io_price_nano_usd is None:
        moved = (report.io_released, report.io_paid, report.io_bought, report.io_retired)
        _equal("IO moved without a price", sum(moved), "allowed", 0)


def _check_payouts(columns: PayoutColumns, sums: Payout, report: EpochReport) -> None:
    suppliers, _, obligation, debt, _, value, usd, rounding, unpaid = columns
    owed = _added(obligation, debt)
    met = _added(value, usd, rounding, unpaid)
    if owed != met or len(met) != len(suppliers):
        raise InvariantError(f"payouts do not add up to what is owed, {owed}: {columns}")
    if min(map(min, filter(None, columns[1:])), default=0) < 0:
        raise InvariantError(f"a payout has an amount below 0: {columns}")
    worst = max(rounding, default=0)
    if worst and worst * IO_UNIT >= (report.io_price_nano_usd or 0):
        raise InvariantError(f"a payee lost {worst} nano-USD, a whole base unit, to rounding")
    if _SUMS(sums) != _SUMS(report):
        raise InvariantError(f"all payouts add up to {sums}, which is not what the epoch says")


def _added(*columns: list[int]) -> list[int]:
    added: list[int] = []
    for column in filter(None, columns):
        added = list(map(add, added, column)) if added else column
    return added


def _check_debts(before: IdeState, params: IdeParams, result: EpochResult) -> None:
    report, carried = result.report, params.shortfall is ShortfallRule.CARRY_DEBT
    unpaid = report.unpaid_nano_usd
    _equal("debt of all payouts", report.debt_before_nano_usd, "in the state", _debts(before))
    _equal("debt carried", _debts(result.state), "unpaid", unpaid if carried else 0)
    if unpaid and report.surplus_nano_usd:
        raise InvariantError(f"a surplus of {report.surplus_nano_usd} while something is unpaid")


def _check_burn(before: IdeState, params: IdeParams, report: EpochReport) -> None:
    surplus, added = report.surplus_nano_usd, report.buyback_added_nano_usd
    _at_most("least share to burn", params.burn_share_ppm, "share to burn", report.burn_share_ppm)
    _at_most("share to burn", report.burn_share_ppm, "all", PPM)
    _at_most("burn share", surplus * report.burn_share_ppm, "added to the buyback", added * PPM)
    _at_most("half of the surplus", surplus, "twice what was added to the buyback", 2 * added)
    _at_most("added to the buyback", added, "surplus", surplus)
    due = before.buyback_due_nano_usd + added
    _at_most("spent on the buyback", report.buyback_spent_nano_usd, "due", due)
    check_amount("IO bought back", report.io_bought)
    worth = report.io_bought * (report.io_price_nano_usd or 0)
    _at_most("worth of the IO bought", worth, "USD spent", report.buyback_spent_nano_usd * IO_UNIT)


def check_books(books: Books, state: IdeState) -> None:
    """The ledger agrees with the state: IO to the base unit, and the Fee Vault holds its USD.

    The Fee Vault may hold more: charges after the epoch, and what was booked against the
    shortfall account, which nobody has paid yet.
    """
    pairs = (
        ("issued", books.issued_io, state.cap_io),
        ("unemitted", books.unemitted_io, state.unemitted_io),
        ("Reward Vault", books.reward_vault_io, state.reward_vault_io),
        ("market, stakes and suppliers", _held_io(books), state.circulating_io + state.supplier_io),
        ("burned", books.burned_io, state.burned_circulating_io),
        ("retired", books.retired_io, state.retired_unemitted_io),
    )
    for name, in_ledger, in_state in pairs:
        _equal(f"{name} IO in the ledger", in_ledger, f"after epoch {state.epoch}", in_state)
    _at_most(
        f"Fee Vault after epoch {state.epoch}",
        state.fee_vault_nano_usd,
        "in the ledger",
        books.fee_vault_nano_usd,
    )


def _held_io(books: Books) -> int:
    market = books.circulating_io + books.treasury_io + books.exchange_io
    return market + books.supplier_io + books.stake_io


def _debts(state: IdeState) -> int:
    return sum([debt.nano_usd for debt in state.debts])


def _equal(left: str, a: int, right: str, b: int) -> None:
    if a != b:
        raise InvariantError(f"{left} is {a}, {right} is {b}: they must be equal")


def _at_most(left: str, a: int, right: str, b: int) -> None:
    if a > b:
        raise InvariantError(f"{left} is {a}, above {right}, {b}")


_BALANCE_NAMES = (
    "epoch",
    "cap_io",
    "unemitted_io",
    "reward_vault_io",
    "circulating_io",
    "supplier_io",
    "burned_circulating_io",
    "retired_unemitted_io",
    "fee_vault_nano_usd",
    "buyback_due_nano_usd",
)
_BALANCES = attrgetter(*_BALANCE_NAMES)
_MOVED_NAMES = (
    "epoch",
    "unemitted_io",
    "supplier_io",
    "circulating_io",
    "burned_circulating_io",
    "retired_unemitted_io",
    "fee_vault_nano_usd",
)
_MOVED = attrgetter(*_MOVED_NAMES)
_SUMS = attrgetter(*Payout.__struct_fields__[1:])
_USAGE_NAMES = UsageColumns._fields[2:]
"""All but whose usage of which model."""

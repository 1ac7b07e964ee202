"""What must hold before and after every epoch, whoever asks: step, settlement or a test."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import msgspec

from ide.epoch import EpochInputs, EpochReport, EpochResult
from ide.params import PPM, IdeParams, ShortfallRule
from ide.state import IdeState
from metering.money import INT64_MAX, IO_UNIT


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


def check_state(state: IdeState, params: IdeParams) -> None:
    """Every balance is an amount, the IO adds up to the cap, debts are sorted and real."""
    for name in _BALANCES:
        check_amount(f"state.{name}", getattr(state, name))
    _equal("cap of the state", state.cap_io, "cap of the parameters", params.cap_io)
    _equal("IO of all holders", supply_io(state), "cap", state.cap_io)
    _at_most("buyback due", state.buyback_due_nano_usd, "Fee Vault", state.fee_vault_nano_usd)
    for debt in state.debts:
        check_amount(f"debt to {debt.supplier_id}", debt.nano_usd)
        if debt.nano_usd == 0:
            raise InvariantError(f"debt to {debt.supplier_id} is 0: leave it out")
    suppliers = [debt.supplier_id for debt in state.debts]
    if any(this >= following for this, following in pairwise(suppliers)):
        raise InvariantError("debts are not in rising order of supplier, each once")


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


def check_inputs(state: IdeState, inputs: EpochInputs) -> None:
    """Every input is an amount, no (supplier, model) comes twice, the revenue fits the vault."""
    keys = {(row.supplier_id, row.model) for row in inputs.usage}
    if len(keys) < len(inputs.usage):
        raise InvariantError("usage has two rows for one supplier and model: add them up first")
    if not all(supplier_id for supplier_id, _ in keys):
        raise InvariantError("usage has a row that names no supplier")
    for name in _USAGE_AMOUNTS:
        column = [getattr(row, name) for row in inputs.usage]
        check_amount(f"the least {name} of all usage", min(column, default=0))
        check_amount(f"{name} of all usage", sum(column))
    if inputs.io_price_nano_usd is not None:
        check_amount("price of IO", inputs.io_price_nano_usd)
    revenue = sum(row.charged_nano_usd for row in inputs.usage)
    check_amount("Fee Vault with the epoch's revenue", state.fee_vault_nano_usd + revenue)


def check_epoch(
    before: IdeState, inputs: EpochInputs, params: IdeParams, result: EpochResult
) -> None:
    """Nothing came from nowhere: conservation of IO, USD and debt across one epoch."""
    check_state(result.state, params)
    _check_moves(before, inputs, result)
    _check_release(before, params, result)
    _check_payouts(before, params, result)
    _check_burn(before, params, result.report)


def _check_moves(before: IdeState, inputs: EpochInputs, result: EpochResult) -> None:
    after, report = result.state, result.report
    revenue = sum(row.charged_nano_usd for row in inputs.usage)
    spent = report.usd_paid_nano_usd + report.buyback_spent_nano_usd
    moves = (
        ("epoch", before.epoch + 1, after.epoch),
        ("unemitted", before.unemitted_io - report.io_released, after.unemitted_io),
        ("suppliers' IO", before.supplier_io + report.io_paid, after.supplier_io),
        ("circulating", before.circulating_io - report.io_burned, after.circulating_io),
        ("burned", before.burned_circulating_io + report.io_burned, after.burned_circulating_io),
        ("retired", before.retired_unemitted_io, after.retired_unemitted_io),
        ("Fee Vault", before.fee_vault_nano_usd + revenue - spent, after.fee_vault_nano_usd),
    )
    for name, expected, actual in moves:
        _equal(f"{name} expected", expected, "found", actual)


def _check_release(before: IdeState, params: IdeParams, result: EpochResult) -> None:
    report = result.report
    _at_most("IO paid", report.io_paid, "release limit", report.io_limit)
    _at_most("IO released", report.io_released, "release limit", report.io_limit)
    kept = min(before.unemitted_io, params.retire_target_io - before.retired_unemitted_io)
    _at_most("IO never to be emitted", kept, "unemitted pool", result.state.unemitted_io)
    if report.io_price_nano_usd is None:
        moved = (report.io_released, report.io_paid, report.io_burned)
        _equal("IO moved without a price", sum(moved), "allowed", 0)


def _check_payouts(before: IdeState, params: IdeParams, result: EpochResult) -> None:
    report, carried = result.report, params.shortfall is ShortfallRule.CARRY_DEBT
    io = value = rounding = usd = unpaid = obligation = debt = 0
    price = report.io_price_nano_usd or 0
    for row in report.payouts:
        parts = (
            row.io_value_nano_usd,
            row.rounding_nano_usd,
            row.usd_paid_nano_usd,
            row.unpaid_nano_usd,
        )
        owed = row.obligation_nano_usd + row.debt_before_nano_usd
        if sum(parts) != owed or min(*parts, row.io_paid) < 0:
            raise InvariantError(f"payout to {row.supplier_id} does not add up to {owed}: {row}")
        if row.rounding_nano_usd * IO_UNIT >= price and row.rounding_nano_usd:
            raise InvariantError(f"{row.supplier_id} lost a whole base unit to rounding: {row}")
        io += row.io_paid
        value += row.io_value_nano_usd
        rounding += row.rounding_nano_usd
        usd += row.usd_paid_nano_usd
        unpaid += row.unpaid_nano_usd
        obligation += row.obligation_nano_usd
        debt += row.debt_before_nano_usd
    _equal("IO of all payouts", io, "IO paid", report.io_paid)
    _equal("value of all payouts", value, "IO value", report.io_value_nano_usd)
    _equal("rounding of all payouts", rounding, "rounding", report.rounding_nano_usd)
    _equal("USD of all payouts", usd, "USD paid", report.usd_paid_nano_usd)
    _equal("unpaid of all payouts", unpaid, "unpaid", report.unpaid_nano_usd)
    _equal("obligation of all payouts", obligation, "obligation", report.obligation_nano_usd)
    _equal("debt of the state", _debts(before), "debt before the epoch", debt)
    _equal("debt carried", _debts(result.state), "unpaid", unpaid if carried else 0)
    if unpaid and report.surplus_nano_usd:
        raise InvariantError(f"a surplus of {report.surplus_nano_usd} while {unpaid} is unpaid")


def _check_burn(before: IdeState, params: IdeParams, report: EpochReport) -> None:
    surplus, added = report.surplus_nano_usd, report.buyback_added_nano_usd
    _at_most("burn share", surplus * params.burn_share_ppm, "added to the buyback", added * PPM)
    _at_most("half of the surplus", surplus, "twice what was added to the buyback", 2 * added)
    _at_most("added to the buyback", added, "surplus", surplus)
    due = before.buyback_due_nano_usd + added
    _at_most("spent on the buyback", report.buyback_spent_nano_usd, "due", due)
    worth = report.io_burned * (report.io_price_nano_usd or 0)
    _at_most("worth of the IO burned", worth, "USD spent", report.buyback_spent_nano_usd * IO_UNIT)


def check_books(books: Books, state: IdeState) -> None:
    """The ledger agrees with the state: IO to the base unit, and the Fee Vault holds its USD.

    The Fee Vault may hold more: charges after the epoch, and what was booked against the
    shortfall account, which nobody has paid yet.
    """
    pairs = (
        ("issued", books.issued_io, state.cap_io),
        ("unemitted", books.unemitted_io, state.unemitted_io),
        ("Reward Vault", books.reward_vault_io, state.reward_vault_io),
        ("market and suppliers", _held_io(books), state.circulating_io + state.supplier_io),
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
    return market + books.supplier_io


def _debts(state: IdeState) -> int:
    return sum(debt.nano_usd for debt in state.debts)


def _equal(left: str, a: int, right: str, b: int) -> None:
    if a != b:
        raise InvariantError(f"{left} is {a}, {right} is {b}: they must be equal")


def _at_most(left: str, a: int, right: str, b: int) -> None:
    if a > b:
        raise InvariantError(f"{left} is {a}, above {right}, {b}")


_BALANCES: Sequence[str] = (
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
_USAGE_AMOUNTS: Sequence[str] = (
    "prompt_tokens",
    "completion_tokens",
    "cost_nano_usd",
    "charged_nano_usd",
    "charges",
)

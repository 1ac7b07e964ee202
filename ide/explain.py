"""An epoch in words: every figure with the formula and the numbers that gave it."""

from __future__ import annotations

from typing import NamedTuple

from ide.epoch import EpochReport, EpochResult
from ide.invariants import supply_io
from ide.params import PPM, IdeParams, PaymentOrder, ShortfallRule
from ide.state import IdeState
from metering.money import format_io, format_usd


class Line(NamedTuple):
    """One figure: what it is, its value with its unit, and how it came about."""

    label: str
    value: str
    formula: str


def explain(result: EpochResult, params: IdeParams) -> list[Line]:
    """The figures of one epoch, in the order in which `step` works them out."""
    report = result.report
    lines = [*_owed_lines(report, params), _price_line(report, params)]
    vaults = [_reward_vault_lines(result, params), _fee_vault_lines(report, params)]
    if report.order is PaymentOrder.REVENUE_FIRST:
        vaults.reverse()
    for vault in vaults:
        lines += vault
    return [*lines, _unpaid_line(report, params), *_surplus_lines(result, params)]


def supply_lines(state: IdeState) -> list[Line]:
    """The IO supply identity: every part of the supply, and their sum against the cap."""
    parts = (
        ("unemitted", state.unemitted_io, "the pool that may still be released or retired"),
        ("Reward Vault", state.reward_vault_io, "released, not yet paid out"),
        ("circulating", state.circulating_io, "in the market"),
        ("suppliers", state.supplier_io, "paid out, still on the ledger"),
        ("burned", state.burned_circulating_io, "bought back out of fees and destroyed"),
        ("retired", state.retired_unemitted_io, "destroyed before it was ever emitted"),
    )
    total = supply_io(state)
    verdict = "equal to the cap" if total == state.cap_io else "NOT EQUAL TO THE CAP"
    return [
        *(Line(name, _io(amount), meaning) for name, amount, meaning in parts),
        Line("sum", _io(total), f"{verdict} of {_io(state.cap_io)}"),
    ]


def _owed_lines(report: EpochReport, params: IdeParams) -> list[Line]:
    revenue, obligation = _usd(report.revenue_nano_usd), _usd(report.obligation_nano_usd)
    owed = report.obligation_nano_usd + report.debt_before_nano_usd
    if not report.payouts and not report.revenue_nano_usd:
        served = "no charges in this epoch: nobody earned anything"
    elif params.token_rates:
        served = f"tokens served x their rate, else {_percent(params.usage_share_ppm)} of list cost"
    else:
        served = f"{_percent(params.usage_share_ppm)} of the list cost of the tokens served"
    if report.psi_raw_ppm is None:
        psi = Line("psi", "none", "revenue / obligation: nothing was owed")
    else:
        psi = Line("psi", _ratio(report.psi_raw_ppm), f"revenue {revenue} / {obligation}")
    return [
        Line("revenue", revenue, "what customers paid for the charges of this epoch"),
        Line("obligation", obligation, served),
        Line("debt before", _usd(report.debt_before_nano_usd), "unpaid by earlier epochs"),
        Line("owed", _usd(owed), "obligation + debt before"),
        psi,
    ]


def _price_line(report: EpochReport, params: IdeParams) -> Line:
    if report.io_price_nano_usd is not None:
        return Line("IO price", _usd(report.io_price_nano_usd), "per IO, given for this epoch")
    floor = _usd(params.price_floor_nano_usd)
    return Line("IO price", "none", f"not given or below {floor}: no IO is released or bought")


def _reward_vault_lines(result: EpochResult, params: IdeParams) -> list[Line]:
    report, after = result.report, result.state
    pool = after.unemitted_io + after.reward_vault_io + report.io_paid
    kept = max(0, params.retire_target_io - after.retired_unemitted_io)
    if report.io_price_nano_usd is None:
        needed = "no price, so no IO"
    elif report.io_needed == after.cap_io:
        needed = "all the IO there can be, or more"
    else:
        still = "owed"
        if report.order is PaymentOrder.REVENUE_FIRST:
            still = f"(owed - {_usd(report.usd_paid_nano_usd)} paid in USD)"
        needed = f"{still} / {_usd(report.io_price_nano_usd)} per IO"
    limit = (
        f"({_io(pool)} in pool and vault - {_io(kept)} to be retired)"
        f" x {params.release_ppb_per_hour} ppb an hour x {params.epoch_s} s"
    )
    return [
        Line("IO needed", _io(report.io_needed), needed),
        Line("release limit", _io(report.io_limit), limit),
        Line("IO released", _io(report.io_released), "needed or limit, less what the vault held"),
        Line(
            "IO paid", _io(report.io_paid), f"Reward Vault, worth {_usd(report.io_value_nano_usd)}"
        ),
        Line(
            "rounding",
            _usd(report.rounding_nano_usd),
            "less than one base unit of IO for each supplier; the IO stays in the vault",
        ),
    ]


def _fee_vault_lines(report: EpochReport, params: IdeParams) -> list[Line]:
    floor = _usd(params.fee_vault_floor_nano_usd)
    return [
        Line(
            "Fee Vault can pay",
            _usd(report.usd_spendable_nano_usd),
            f"balance + revenue - buyback due before - floor {floor}",
        ),
        Line(
            "USD paid",
            _usd(report.usd_paid_nano_usd),
            "Fee Vault, what the Reward Vault did not cover"
            if report.order is PaymentOrder.REWARD_FIRST
            else "Fee Vault, first in this order",
        ),
    ]


def _unpaid_line(report: EpochReport, params: IdeParams) -> Line:
    if report.unpaid_nano_usd == 0:
        rule = "all that was owed is paid"
    elif params.shortfall is ShortfallRule.CARRY_DEBT:
        rule = "both vaults short: shared pro rata, carried as debt"
    else:
        rule = "both vaults short: shared pro rata, written off"
    return Line("unpaid", _usd(report.unpaid_nano_usd), rule)


def _surplus_lines(result: EpochResult, params: IdeParams) -> list[Line]:
    report, after = result.report, result.state
    kept = report.surplus_nano_usd - report.buyback_added_nano_usd
    bought = f"for {_usd(report.buyback_spent_nano_usd)} of the Fee Vault"
    if report.buyback_spent_nano_usd == 0:
        bought = "no price to buy at" if report.io_price_nano_usd is None else "nothing to spend"
    return [
        Line(
            "surplus",
            _usd(report.surplus_nano_usd),
            "revenue - USD paid, as far as the Fee Vault is above its floor",
        ),
        Line(
            "to buy back",
            _usd(report.buyback_added_nano_usd),
            f"{_percent(params.burn_share_ppm)} of the surplus, rounded up",
        ),
        Line("kept as reserve", _usd(kept), "surplus - to buy back"),
        Line("IO burned", _io(report.io_burned), bought),
        Line("buyback still due", _usd(after.buyback_due_nano_usd), "set aside, pays nobody else"),
        Line("Fee Vault after", _usd(after.fee_vault_nano_usd), "reserve and buyback still due"),
    ]


def _usd(nano_usd: int) -> str:
    return f"${_grouped(format_usd(nano_usd))}"


def _io(units: int) -> str:
    return f"{_grouped(format_io(units))} IO"


def _grouped(number: str) -> str:
    whole, point, rest = number.partition(".")
    return f"{int(whole):,}{point}{rest}"


def _ratio(ppm: int) -> str:
    return f"{ppm // PPM}.{ppm % PPM:06d}"


def _percent(ppm: int) -> str:
    whole, rest = divmod(ppm, PPM // 100)
    return f"{whole}{f'.{rest:04d}'.rstrip('0') if rest else ''}%"

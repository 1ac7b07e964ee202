"""An epoch in words: every figure with the formula and the numbers that gave it."""

from __future__ import annotations

from typing import NamedTuple

from ide.epoch import Alarm, EpochReport, EpochResult, Proposal
from ide.health import RUNWAY_MONTHS_MAX
from ide.invariants import Books, supply_io
from ide.params import DAY_S, IdeParams, PaymentOrder, ShortfallRule
from ide.state import IdeState
from metering.money import PPM, format_io, format_usd


class Line(NamedTuple):
    """One figure: what it is, its value with its unit, and how it came about."""

    label: str
    value: str
    formula: str


class SupplyLine(NamedTuple):
    """One part of the IO supply: after the epoch, and in the ledger now."""

    part: str
    after_epoch: str
    in_ledger: str
    meaning: str


class PayoutLine(NamedTuple):
    """What became of one supplier's income."""

    supplier: str
    owed: str
    in_io: str
    in_usd: str
    rounding: str
    unpaid: str


def explain(result: EpochResult, params: IdeParams) -> list[Line]:
    """The figures of one epoch, in the order in which `step` works them out."""
    report = result.report
    lines = [*_owed_lines(report, params), _price_line(report, params)]
    vaults = [_reward_vault_lines(result, params), _fee_vault_lines(result, params)]
    if report.order is PaymentOrder.REVENUE_FIRST:
        vaults.reverse()
    for vault in vaults:
        lines += vault
    lines += [_unpaid_line(report, params), *_surplus_lines(result)]
    return [*lines, *_health_lines(result, params)]


def payout_lines(report: EpochReport) -> list[PayoutLine]:
    """One line a supplier: owed = worth of the IO + USD + rounding + unpaid."""
    return [
        PayoutLine(
            supplier=row.supplier_id,
            owed=usd(row.obligation_nano_usd + row.debt_before_nano_usd),
            in_io=f"{io(row.io_paid)} = {usd(row.io_value_nano_usd)}",
            in_usd=usd(row.usd_paid_nano_usd),
            rounding=usd(row.rounding_nano_usd),
            unpaid=usd(row.unpaid_nano_usd),
        )
        for row in report.payouts
    ]


def supply_lines(state: IdeState, books: Books) -> list[SupplyLine]:
    """The IO supply identity: every part of the supply, and their sum, which is the cap.

    `books` is the ledger now; it differs from `state` in a part only if later epochs moved it.
    """
    on_ledger = books.circulating_io + books.treasury_io + books.exchange_io + books.stake_io
    parts = (
        ("unemitted", state.unemitted_io, books.unemitted_io, "may still be released or retired"),
        ("Reward Vault", state.reward_vault_io, books.reward_vault_io, "released, not paid out"),
        ("circulating", state.circulating_io, on_ledger, "in the market, staked or held"),
        ("suppliers", state.supplier_io, books.supplier_io, "paid out, still on the ledger"),
        (
            "burned",
            state.burned_circulating_io,
            books.burned_io,
            "bought back out of fees, or slashed",
        ),
        ("retired", state.retired_unemitted_io, books.retired_io, "never to be emitted"),
    )
    return [
        *(SupplyLine(name, _io(then), _io(now), meaning) for name, then, now, meaning in parts),
        SupplyLine("sum", _io(supply_io(state)), _io(books.supply_io), "of the lines above"),
        SupplyLine("cap", _io(state.cap_io), _io(books.issued_io), "must equal the sum"),
    ]


def _owed_lines(report: EpochReport, params: IdeParams) -> list[Line]:
    revenue, obligation = usd(report.revenue_nano_usd), usd(report.obligation_nano_usd)
    owed = report.obligation_nano_usd + report.debt_before_nano_usd
    share = f"{_percent(params.usage_share_ppm)} of the list cost, {usd(report.list_cost_nano_usd)}"
    if params.token_rates:
        share = f"tokens x the rate of their model, where there is none {share}"
    tokens = f"{report.prompt_tokens:,} prompt and {report.completion_tokens:,} completion tokens"
    served = f"{share}, of {tokens}" if report.list_cost_nano_usd else f"{tokens}, at no cost"
    if report.stipend_nano_usd:
        served = f"{usd(report.stipend_nano_usd)} of stipends for verified GPU time, and {served}"
    if report.psi_raw_ppm is None:
        psi = Line("psi", "none", "revenue / obligation: nothing was owed")
    else:
        psi = Line(
            "psi", _ratio(report.psi_raw_ppm), f"{revenue} revenue / {obligation} obligation"
        )
    return [
        Line("revenue", revenue, "what customers paid for the charges of this epoch"),
        Line("obligation", obligation, served),
        Line("debt before", usd(report.debt_before_nano_usd), "unpaid by earlier epochs"),
        Line("owed", usd(owed), "obligation + debt before"),
        psi,
    ]


def _price_line(report: EpochReport, params: IdeParams) -> Line:
    if report.io_price_nano_usd is not None:
        return Line("IO price", usd(report.io_price_nano_usd), "per IO, given for this epoch")
    floor = usd(params.price_floor_nano_usd)
    return Line("IO price", "none", f"not given or below {floor}: no IO is released or bought")


def _reward_vault_lines(result: EpochResult, params: IdeParams) -> list[Line]:
    report, after = result.report, result.state
    pool = after.unemitted_io + after.reward_vault_io + report.io_paid + report.io_retired
    kept = max(0, params.retire_target_io - after.retired_unemitted_io + report.io_retired)
    kept = min(kept, after.unemitted_io + report.io_released + report.io_retired)
    if report.io_price_nano_usd is None:
        needed = "no price, so no IO"
    elif report.io_needed == after.cap_io:
        needed = "all the IO there can be, or more"
    else:
        still = "owed"
        if report.order is PaymentOrder.REVENUE_FIRST:
            still = f"(owed - {usd(report.usd_paid_nano_usd)} paid in USD)"
        needed = f"{still} / {usd(report.io_price_nano_usd)} per IO"
    limit = (
        f"({io(pool)} in pool and vault - {io(kept)} to be retired)"
        f" x {params.release_ppb_per_hour:,} ppb an hour x {params.epoch_s:,} s"
    )
    return [
        Line("IO needed", io(report.io_needed), needed),
        Line("release limit", io(report.io_limit), limit),
        Line("IO released", io(report.io_released), "needed or limit, less what the vault held"),
        Line("IO paid", io(report.io_paid), f"Reward Vault, worth {usd(report.io_value_nano_usd)}"),
        Line(
            "rounding",
            usd(report.rounding_nano_usd),
            "less than one base unit of IO for each supplier; the IO stays in the vault",
        ),
    ]


def _fee_vault_lines(result: EpochResult, params: IdeParams) -> list[Line]:
    report, after = result.report, result.state
    out = report.usd_paid_nano_usd + report.buyback_spent_nano_usd
    held = after.fee_vault_nano_usd + out - report.revenue_nano_usd
    due = after.buyback_due_nano_usd + report.buyback_spent_nano_usd - report.buyback_added_nano_usd
    return [
        Line(
            "Fee Vault can pay",
            usd(report.usd_spendable_nano_usd),
            f"{usd(held)} held + {usd(report.revenue_nano_usd)} revenue"
            f" - {usd(due)} buyback due - {usd(params.fee_vault_floor_nano_usd)} floor",
        ),
        Line(
            "USD paid",
            usd(report.usd_paid_nano_usd),
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
    return Line("unpaid", usd(report.unpaid_nano_usd), rule)


def _surplus_lines(result: EpochResult) -> list[Line]:
    report, after = result.report, result.state
    kept = report.surplus_nano_usd - report.buyback_added_nano_usd
    bought = f"for {usd(report.buyback_spent_nano_usd)} of the Fee Vault"
    if after.buyback_due_nano_usd == report.buyback_spent_nano_usd == 0:
        bought = "nothing is due"
    elif report.io_price_nano_usd is None:
        bought = "no price to buy at"
    elif report.buyback_spent_nano_usd == 0:
        bought = "what is due does not buy one base unit"
    return [
        Line(
            "surplus",
            usd(report.surplus_nano_usd),
            f"{usd(report.revenue_nano_usd)} revenue - {usd(report.usd_paid_nano_usd)} USD paid,"
            " as far as the Fee Vault is above its floor",
        ),
        Line(
            "to buy back",
            usd(report.buyback_added_nano_usd),
            f"{_percent(report.burn_share_ppm)} of the surplus, rounded up;"
            f" the reserve is {usd(report.reserve_nano_usd)}",
        ),
        Line("kept as reserve", usd(kept), "surplus - to buy back"),
        Line("IO burned", io(report.io_bought), bought),
        *_slashed_lines(report),
        Line("buyback still due", usd(after.buyback_due_nano_usd), "set aside, pays nobody else"),
        Line("Fee Vault after", usd(after.fee_vault_nano_usd), "reserve and buyback still due"),
    ]


def _slashed_lines(report: EpochReport) -> list[Line]:
    if not report.io_slashed:
        return []
    why = "taken from stakes a month ago and not won back; burned too"
    return [Line("IO slashed", io(report.io_slashed), why)]


def _health_lines(result: EpochResult, params: IdeParams) -> list[Line]:
    report, kept = result.report, result.state.unemitted_io
    psi = report.psi_smoothed_ppm
    lines = [
        Line(
            "IO retired",
            io(report.io_retired),
            f"{params.retire_ppb_per_hour:,} ppb an hour of what is never to be emitted;"
            f" {io(kept)} stay in the pool",
        ),
        Line(
            "psi smoothed",
            "none" if psi is None else _ratio(psi),
            f"revenue / obligation, each smoothed over {params.smoothing_s // DAY_S} days",
        ),
        Line(
            "runway",
            runway(report.runway_months),
            "until something stays unpaid, if nothing changes",
        ),
        *(Line("alarm", alarm, _ALARMS[alarm]) for alarm in report.alarms),
    ]
    return lines + (_proposal_lines(report.proposal) if report.proposal else [])


def _proposal_lines(proposal: Proposal) -> list[Line]:
    missing = f"{usd(proposal.missing_nano_usd_per_month)} a month are missing"
    since = f"psi has been below 1 for {proposal.deficit_days} days: {missing}"
    hardware = proposal.hardware_nano_usd
    levers = (
        ("hardware price", None if hardware is None else usd(hardware)),
        ("target ROI a year", _percent_or_none(proposal.target_roi_ppm_per_year)),
        ("usage share", _percent_or_none(proposal.usage_share_ppm)),
        ("customers' prices", _percent_or_none(proposal.customer_prices_ppm)),
    )
    return [
        Line(
            f"proposal: {lever}",
            value or "not enough",
            f"{since}; this alone would restore it" if value else f"{since}; not by this alone",
        )
        for lever, value in levers
    ]


def _percent_or_none(ppm: int | None) -> str | None:
    return None if ppm is None else _percent(ppm)


_ALARMS = {
    Alarm.PSI_BELOW_ONE: "revenue does not cover what is owed, smoothed",
    Alarm.RUNWAY_SHORT: "the reserve is too small for how fast it is used",
    Alarm.NO_PRICE: "nothing is released without a price; the Fee Vault pays alone",
    Alarm.UNPAID: "neither vault could pay all",
}


def usd(nano_usd: int) -> str:
    """An exact amount of USD, such as "$1,234.5"."""
    return f"${_grouped(format_usd(nano_usd))}"


def runway(months: int) -> str:
    """A runway as `health.runway_months` found it: it looks no further than its most."""
    return f"{months} months" + (" or more" if months == RUNWAY_MONTHS_MAX else "")


def io(units: int) -> str:
    """An exact amount of IO, such as "1,234.5 IO"."""
    return f"{_io(units)} IO"


def _io(units: int) -> str:
    return _grouped(format_io(units))


def _grouped(number: str) -> str:
    whole, point, rest = number.partition(".")
    return f"{int(whole):,}{point}{rest}"


def _ratio(ppm: int) -> str:
    return f"{ppm // PPM}.{ppm % PPM:06d}"


def _percent(ppm: int) -> str:
    whole, rest = divmod(ppm, PPM // 100)
    return f"{whole}{f'.{rest:04d}'.rstrip('0') if rest else ''}%"

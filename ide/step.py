"""One epoch of the Incentive Dynamic Engine: a pure integer function of three values.

Live settlement and the simulator fold this very function, so a settled epoch can be replayed to
the same hash. In order:

1. value what every supplier earned in USD, add what earlier epochs still owe it;
2. pay from the vaults in their order: the Reward Vault in IO at the epoch's price, within its
   release limit, and the Fee Vault in USD, down to its floor;
3. carry what neither could pay as debt (or write it off);
4. of the epoch's fees that are left, buy back and burn a share, keep the rest.

Without a usable price nothing is released and nothing is bought: the Fee Vault pays, and the rest
stays owed in USD.
"""

from __future__ import annotations

from typing import NamedTuple

from ide import burn, invariants, payouts
from ide.epoch import EpochInputs, EpochReport, EpochResult, Payout
from ide.params import PPM, IdeParams, PaymentOrder, ShortfallRule
from ide.state import Debt, IdeState
from metering.money import mul_div_floor

PSI_PPM_MAX = 10**15
"""Psi saturates here: a billion times what was owed says no more than "much"."""


class _Owed(NamedTuple):
    suppliers: list[str]
    obligation: list[int]
    debt: list[int]
    total: list[int]


class _Paid(NamedTuple):
    io: payouts.IoPayment
    limit_io: int
    usd: list[int]
    usd_spendable: int
    unpaid: list[int]


class _Burn(NamedTuple):
    surplus: int
    added: int
    spent: int
    io_burned: int


def step(state: IdeState, inputs: EpochInputs, params: IdeParams) -> EpochResult:
    """The epoch after `state`. Raises InvariantError if a value is impossible, in or out."""
    invariants.check_state(state, params)
    invariants.check_inputs(state, inputs)
    price = usable_price(inputs, params)
    revenue = sum(row.charged_nano_usd for row in inputs.usage)
    owed = _owed(state, inputs, params)
    invariants.check_amount("what is owed in all", sum(owed.total))
    paid = _pay(owed, revenue, price, state, params)
    burned = _burn(revenue, paid, price, state, params)
    report = _report(owed, paid, burned, price, state, inputs, params)
    result = EpochResult(state=_state_after(state, report), report=report)
    invariants.check_epoch(state, inputs, params, result)
    return result


def usable_price(inputs: EpochInputs, params: IdeParams) -> int | None:
    """The price of one IO in nano-USD, or None if there is none or it is below the floor."""
    price = inputs.io_price_nano_usd
    return price if price is not None and price >= params.price_floor_nano_usd else None


def _owed(state: IdeState, inputs: EpochInputs, params: IdeParams) -> _Owed:
    earned = payouts.obligations(inputs.usage, params)
    debts = {debt.supplier_id: debt.nano_usd for debt in state.debts}
    suppliers = sorted(earned.keys() | debts.keys())
    obligation = [earned.get(supplier, 0) for supplier in suppliers]
    debt = [debts.get(supplier, 0) for supplier in suppliers]
    total = [new + old for new, old in zip(obligation, debt, strict=True)]
    return _Owed(suppliers, obligation, debt, total)


def _pay(owed: _Owed, revenue: int, price: int | None, state: IdeState, params: IdeParams) -> _Paid:
    limit = payouts.release_limit_io(state, params)
    vault = state.fee_vault_nano_usd + revenue - state.buyback_due_nano_usd
    spendable = max(0, vault - params.fee_vault_floor_nano_usd)
    if params.order is PaymentOrder.REWARD_FIRST:
        io = _pay_io(owed.total, limit, price, state)
        usd = payouts.pay_usd(_less(owed.total, io.value_nano_usd, io.rounding_nano_usd), spendable)
    else:
        usd = payouts.pay_usd(owed.total, spendable)
        io = _pay_io(_less(owed.total, usd), limit, price, state)
    unpaid = _less(owed.total, io.value_nano_usd, io.rounding_nano_usd, usd)
    return _Paid(io, limit, usd, spendable, unpaid)


def _pay_io(owed: list[int], limit: int, price: int | None, state: IdeState) -> payouts.IoPayment:
    if price is None:
        nothing = [0] * len(owed)
        return payouts.IoPayment(0, 0, nothing, nothing, nothing)
    return payouts.pay_io(owed, limit, state.reward_vault_io, price, state.cap_io)


def _less(owed: list[int], *parts: list[int]) -> list[int]:
    return [whole - sum(paid) for whole, *paid in zip(owed, *parts, strict=True)]


def _burn(
    revenue: int, paid: _Paid, price: int | None, state: IdeState, params: IdeParams
) -> _Burn:
    usd_paid = sum(paid.usd)
    surplus = burn.surplus_nano_usd(revenue, usd_paid, paid.usd_spendable - usd_paid)
    added = burn.burn_share_nano_usd(surplus, params)
    if price is None:
        return _Burn(surplus, added, 0, 0)
    due = state.buyback_due_nano_usd + added
    spent, io_burned = burn.buy_back(due, price, state.circulating_io)
    return _Burn(surplus, added, spent, io_burned)


def _report(
    owed: _Owed,
    paid: _Paid,
    burned: _Burn,
    price: int | None,
    state: IdeState,
    inputs: EpochInputs,
    params: IdeParams,
) -> EpochReport:
    revenue = sum(row.charged_nano_usd for row in inputs.usage)
    unpaid = sum(paid.unpaid)
    obligation = sum(owed.obligation)
    return EpochReport(
        epoch=state.epoch + 1,
        params_version=params.version,
        order=params.order,
        io_price_nano_usd=price,
        prompt_tokens=sum(row.prompt_tokens for row in inputs.usage),
        completion_tokens=sum(row.completion_tokens for row in inputs.usage),
        list_cost_nano_usd=sum(row.cost_nano_usd for row in inputs.usage),
        revenue_nano_usd=revenue,
        obligation_nano_usd=obligation,
        debt_before_nano_usd=sum(owed.debt),
        psi_raw_ppm=_psi_ppm(revenue, obligation),
        io_needed=paid.io.needed_io,
        io_limit=paid.limit_io,
        io_released=paid.io.released_io,
        io_paid=sum(paid.io.io),
        io_value_nano_usd=sum(paid.io.value_nano_usd),
        rounding_nano_usd=sum(paid.io.rounding_nano_usd),
        usd_spendable_nano_usd=paid.usd_spendable,
        usd_paid_nano_usd=sum(paid.usd),
        unpaid_nano_usd=unpaid,
        debt_after_nano_usd=unpaid if params.shortfall is ShortfallRule.CARRY_DEBT else 0,
        surplus_nano_usd=burned.surplus,
        buyback_added_nano_usd=burned.added,
        buyback_spent_nano_usd=burned.spent,
        io_burned=burned.io_burned,
        payouts=_payouts(owed, paid),
    )


def _payouts(owed: _Owed, paid: _Paid) -> tuple[Payout, ...]:
    rows = zip(
        owed.suppliers,
        owed.obligation,
        owed.debt,
        paid.io.io,
        paid.io.value_nano_usd,
        paid.io.rounding_nano_usd,
        paid.usd,
        paid.unpaid,
        strict=True,
    )
    return tuple(
        Payout(
            supplier_id=supplier,
            obligation_nano_usd=obligation,
            debt_before_nano_usd=debt,
            io_paid=io,
            io_value_nano_usd=value,
            rounding_nano_usd=rounding,
            usd_paid_nano_usd=usd,
            unpaid_nano_usd=unpaid,
        )
        for supplier, obligation, debt, io, value, rounding, usd, unpaid in rows
    )


def _psi_ppm(revenue: int, obligation: int) -> int | None:
    if obligation == 0:
        return None
    if revenue * PPM >= PSI_PPM_MAX * obligation:
        return PSI_PPM_MAX
    return mul_div_floor(revenue, PPM, obligation)


def _state_after(state: IdeState, report: EpochReport) -> IdeState:
    owed_on = report.debt_after_nano_usd > 0
    return IdeState(
        epoch=report.epoch,
        cap_io=state.cap_io,
        unemitted_io=state.unemitted_io - report.io_released,
        reward_vault_io=state.reward_vault_io + report.io_released - report.io_paid,
        circulating_io=state.circulating_io - report.io_burned,
        supplier_io=state.supplier_io + report.io_paid,
        burned_circulating_io=state.burned_circulating_io + report.io_burned,
        retired_unemitted_io=state.retired_unemitted_io,
        fee_vault_nano_usd=state.fee_vault_nano_usd
        + report.revenue_nano_usd
        - report.usd_paid_nano_usd
        - report.buyback_spent_nano_usd,
        buyback_due_nano_usd=state.buyback_due_nano_usd
        + report.buyback_added_nano_usd
        - report.buyback_spent_nano_usd,
        debts=tuple(
            Debt(supplier_id=row.supplier_id, nano_usd=row.unpaid_nano_usd)
            for row in report.payouts
            if owed_on and row.unpaid_nano_usd
        ),
    )

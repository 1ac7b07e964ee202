"""One epoch of the Incentive Dynamic Engine: a pure integer function of three values.

Live settlement and the simulator fold this very function, so a settled epoch can be replayed to
the same hash. In order:

1. value what every supplier earned in USD, add what earlier epochs still owe it;
2. pay from the vaults in their order: the Reward Vault in IO at the epoch's price, within its
   release limit, and the Fee Vault in USD, down to its floor;
3. carry what neither could pay as debt (or write it off);
4. of the epoch's fees that are left, buy back and burn a share, keep the rest;
5. burn what was slashed and can no longer be won back;
6. retire what is never to be emitted, a little at a time;
7. say how it stands: psi, runway, alarms, and a proposal where psi is lastingly below 1.

Without a usable price no IO moves but what was slashed, nothing is released, bought or retired: the
Fee Vault pays, and the rest stays owed in USD.
"""

from __future__ import annotations

from operator import add

import msgspec

from ide import burn, health, invariants, payouts
from ide.epoch import (
    EpochInputs,
    EpochReport,
    EpochResult,
    Outside,
    Payout,
    PayoutColumns,
    UsageColumns,
)
from ide.params import IdeParams, PaymentOrder, ShortfallRule
from ide.proposal import proposal
from ide.state import Debt, IdeState, Smoothed, reserve_nano_usd


class _Owed(msgspec.Struct, frozen=True, gc=False):
    suppliers: list[str]
    stipend: list[int]
    obligation: list[int]
    debt: list[int]
    total: list[int]
    list_share: int


class _Paid(msgspec.Struct, frozen=True, gc=False):
    io: payouts.IoPayment
    limit_io: int
    usd: list[int]
    unpaid: list[int]
    usd_spendable: int


class _Burn(msgspec.Struct, frozen=True, gc=False):
    reserve: int
    share_ppm: int
    surplus: int
    added: int
    spent: int
    io_burned: int


class _Worked(msgspec.Struct, frozen=True, gc=False):
    came: invariants.InputTotals
    paid: _Paid
    columns: PayoutColumns
    sums: Payout
    burned: _Burn
    smoothed: Smoothed
    retired_io: int
    price: int | None


def step(state: IdeState, inputs: EpochInputs, params: IdeParams) -> EpochResult:
    """The epoch after `state`. Raises InvariantError if a value is impossible, in or out."""
    result, columns = totals(state, UsageColumns.of(inputs.usage), inputs, params)
    report = msgspec.structs.replace(result.report, payouts=columns.rows())
    return EpochResult(state=result.state, report=report)


def totals(
    state: IdeState, usage: UsageColumns, outside: Outside, params: IdeParams
) -> tuple[EpochResult, PayoutColumns]:
    """`step` but for its rows, for whoever looks at no single supplier: all is paid and checked,
    the usage and the report's payouts are columns."""
    invariants.check_state(state, params)
    came = invariants.check_inputs(state, usage, outside)
    revenue = came.revenue_nano_usd
    price = usable_price(outside, params)
    owed = _owed(state, payouts.earned(usage, outside.availability, params))
    paid = _pay(owed, revenue, price, state, params)
    columns = _columns(owed, paid)
    sums = columns.together()
    owed_in_all = sums.obligation_nano_usd + sums.debt_before_nano_usd
    invariants.check_amount("what is owed in all", owed_in_all)
    smoothed = health.smooth(
        state.smoothed,
        revenue,
        sums.obligation_nano_usd,
        sums.stipend_nano_usd,
        owed.list_share,
        params,
    )
    burned = _burn(paid.usd_spendable, sums.usd_paid_nano_usd, came, smoothed, price, state, params)
    retired = 0 if price is None else payouts.retired_io(state, params)
    worked = _Worked(came, paid, columns, sums, burned, smoothed, retired, price)
    after = _state_after(state, worked, params)
    result = EpochResult(state=after, report=_report(worked, after, params))
    invariants.check_epoch(state, came, params, result, columns, sums)
    return result, columns


def usable_price(outside: Outside, params: IdeParams) -> int | None:
    """The price of one IO in nano-USD, or None if there is none or it is below the floor."""
    price = outside.io_price_nano_usd
    return price if price is not None and price >= params.price_floor_nano_usd else None


def _owed(state: IdeState, earned: payouts.Earned) -> _Owed:
    debts = {debt.supplier_id: debt.nano_usd for debt in state.debts}
    stipends, obligations = earned.stipend, earned.obligation
    if len(obligations) > len(stipends) or not debts.keys() <= stipends.keys():
        everyone = sorted({**obligations, **debts})
        stipends = {supplier: stipends.get(supplier, 0) for supplier in everyone}
        obligations = {supplier: obligations.get(supplier, 0) for supplier in everyone}
    obligation = list(obligations.values())
    debt = [debts.get(supplier, 0) for supplier in stipends] if debts else []
    return _Owed(
        suppliers=list(stipends),
        stipend=list(stipends.values()),
        obligation=obligation,
        debt=debt,
        total=list(map(add, obligation, debt)) if debts else obligation,
        list_share=earned.list_share,
    )


def _pay(owed: _Owed, revenue: int, price: int | None, state: IdeState, params: IdeParams) -> _Paid:
    limit = payouts.release_limit_io(state, params)
    spendable = max(0, reserve_nano_usd(state, params) + revenue)
    if params.order is PaymentOrder.REWARD_FIRST:
        io = _pay_io(owed.total, limit, price, state)
        usd, unpaid = payouts.pay_usd(io.left_nano_usd, spendable)
    else:
        usd, left = payouts.pay_usd(owed.total, spendable)
        io = _pay_io(left, limit, price, state)
        unpaid = io.left_nano_usd
    return _Paid(io, limit, usd, unpaid, spendable)


def _pay_io(owed: list[int], limit: int, price: int | None, state: IdeState) -> payouts.IoPayment:
    if price is None:
        return payouts.IoPayment(0, 0, [], [], [], owed)
    return payouts.pay_io(owed, limit, state.reward_vault_io, price, state.cap_io)


def _burn(
    spendable: int,
    usd_paid: int,
    came: invariants.InputTotals,
    smoothed: Smoothed,
    price: int | None,
    state: IdeState,
    params: IdeParams,
) -> _Burn:
    reserve = max(0, reserve_nano_usd(state, params))
    a_month = health.a_month(smoothed.obligation_nano_usd, params)
    share = burn.burn_share_ppm(reserve, a_month, params)
    surplus = burn.surplus_nano_usd(came.revenue_nano_usd, usd_paid, spendable - usd_paid)
    added = burn.burn_share_nano_usd(surplus, share)
    if price is None:
        return _Burn(reserve, share, surplus, added, 0, came.slashed_io)
    due = state.buyback_due_nano_usd + added
    spent, bought = burn.buy_back(due, price, state.circulating_io - came.slashed_io)
    return _Burn(reserve, share, surplus, added, spent, bought + came.slashed_io)


def _state_after(state: IdeState, worked: _Worked, params: IdeParams) -> IdeState:
    sums, burned = worked.sums, worked.burned
    released, io_paid = worked.paid.io.released_io, sums.io_paid
    carried = params.shortfall is ShortfallRule.CARRY_DEBT
    spent = sums.usd_paid_nano_usd + burned.spent
    return IdeState(
        epoch=state.epoch + 1,
        cap_io=state.cap_io,
        unemitted_io=state.unemitted_io - released - worked.retired_io,
        reward_vault_io=state.reward_vault_io + released - io_paid,
        circulating_io=state.circulating_io - burned.io_burned,
        supplier_io=state.supplier_io + io_paid,
        burned_circulating_io=state.burned_circulating_io + burned.io_burned,
        retired_unemitted_io=state.retired_unemitted_io + worked.retired_io,
        fee_vault_nano_usd=state.fee_vault_nano_usd + worked.came.revenue_nano_usd - spent,
        buyback_due_nano_usd=state.buyback_due_nano_usd + burned.added - burned.spent,
        debts=tuple(
            Debt(supplier_id=supplier, nano_usd=unpaid)
            for supplier, unpaid in zip(
                worked.columns.supplier_id, worked.columns.unpaid_nano_usd, strict=True
            )
            if unpaid
        )
        if carried and sums.unpaid_nano_usd
        else (),
        smoothed=worked.smoothed,
    )


def _report(worked: _Worked, after: IdeState, params: IdeParams) -> EpochReport:
    sums, paid, burned, smoothed = worked.sums, worked.paid, worked.burned, worked.smoothed
    revenue, obligation = worked.came.revenue_nano_usd, sums.obligation_nano_usd
    debt_before, unpaid = sums.debt_before_nano_usd, sums.unpaid_nano_usd
    debt_after = unpaid if after.debts else 0
    runway = health.runway_months(
        smoothed, reserve_nano_usd(after, params) - debt_after, paid.limit_io, worked.price, params
    )
    return EpochReport(
        epoch=after.epoch,
        params_version=params.version,
        order=params.order,
        io_price_nano_usd=worked.price,
        prompt_tokens=worked.came.prompt_tokens,
        completion_tokens=worked.came.completion_tokens,
        list_cost_nano_usd=worked.came.list_cost_nano_usd,
        revenue_nano_usd=revenue,
        stipend_nano_usd=sums.stipend_nano_usd,
        obligation_nano_usd=obligation,
        debt_before_nano_usd=debt_before,
        psi_raw_ppm=health.psi_ppm(revenue, obligation),
        psi_smoothed_ppm=health.psi_ppm(smoothed.revenue_nano_usd, smoothed.obligation_nano_usd),
        io_needed=paid.io.needed_io,
        io_limit=paid.limit_io,
        io_released=paid.io.released_io,
        io_paid=sums.io_paid,
        io_value_nano_usd=sums.io_value_nano_usd,
        rounding_nano_usd=sums.rounding_nano_usd,
        usd_spendable_nano_usd=paid.usd_spendable,
        usd_paid_nano_usd=sums.usd_paid_nano_usd,
        unpaid_nano_usd=unpaid,
        debt_after_nano_usd=debt_after,
        reserve_nano_usd=burned.reserve,
        burn_share_ppm=burned.share_ppm,
        surplus_nano_usd=burned.surplus,
        buyback_added_nano_usd=burned.added,
        buyback_spent_nano_usd=burned.spent,
        io_burned=burned.io_burned,
        io_retired=worked.retired_io,
        runway_months=runway,
        alarms=health.alarms(
            smoothed, runway, obligation + debt_before, unpaid, worked.price, params
        ),
        proposal=proposal(smoothed, params),
        payouts=(),
        io_slashed=worked.came.slashed_io,
    )


def _columns(owed: _Owed, paid: _Paid) -> PayoutColumns:
    return PayoutColumns(
        owed.suppliers,
        owed.stipend,
        owed.obligation,
        owed.debt,
        paid.io.io,
        paid.io.value_nano_usd,
        paid.usd,
        paid.io.rounding_nano_usd,
        paid.unpaid,
    )

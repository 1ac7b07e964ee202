from __future__ import annotations

import msgspec
import pytest

from ide.epoch import EpochInputs, Payout, SupplierTime, SupplierUsage
from ide.health import PSI_PPM_MAX
from ide.invariants import InvariantError
from ide.params import IdeParams, PaymentOrder, ShortfallRule
from ide.state import Debt, IdeState, Smoothed, opening_state
from ide.step import step
from metering.money import IO_UNIT, USD_UNIT

CENTS_16 = 160_000_000
PARAMS = IdeParams()
OPENING = opening_state(PARAMS)


def usage(supplier: str, cost: int, charged: int | None = None) -> SupplierUsage:
    return SupplierUsage(
        supplier_id=supplier,
        model="m",
        prompt_tokens=1_000,
        completion_tokens=100,
        cost_nano_usd=cost,
        charged_nano_usd=cost if charged is None else charged,
        charges=1,
    )


def epoch(*rows: SupplierUsage, price: int | None = CENTS_16) -> EpochInputs:
    return EpochInputs(usage=rows, io_price_nano_usd=price)


def there(times: int = 1, **fields: object) -> EpochInputs:
    row = SupplierTime(supplier_id="a", gpu_class="T4", gpu_s=1, quality_ppm=1)
    rows = (msgspec.structs.replace(row, **fields),) * times
    return EpochInputs(usage=(), io_price_nano_usd=CENTS_16, availability=rows)


def with_balances(**fields: object) -> IdeState:
    return msgspec.structs.replace(OPENING, **fields)


def test_the_reward_vault_pays_all_while_within_its_limit() -> None:
    result = step(OPENING, epoch(usage("a", 100 * USD_UNIT)), PARAMS)
    report, after = result.report, result.state
    assert report.obligation_nano_usd == 70 * USD_UNIT
    assert report.psi_raw_ppm == 1_428_571
    assert report.io_needed == report.io_released == report.io_paid == 437_50000000
    assert report.usd_paid_nano_usd == report.unpaid_nano_usd == 0
    assert report.surplus_nano_usd == 100 * USD_UNIT
    assert report.buyback_spent_nano_usd == 50 * USD_UNIT
    assert report.io_burned == 312_50000000
    assert after.fee_vault_nano_usd == 50 * USD_UNIT
    assert after.supplier_io == 437_50000000
    assert after.burned_circulating_io == 312_50000000
    assert after.epoch == 1
    assert report.payouts == (
        Payout(
            supplier_id="a",
            stipend_nano_usd=0,
            obligation_nano_usd=70 * USD_UNIT,
            debt_before_nano_usd=0,
            io_paid=437_50000000,
            io_value_nano_usd=70 * USD_UNIT,
            usd_paid_nano_usd=0,
            rounding_nano_usd=0,
            unpaid_nano_usd=0,
        ),
    )


def test_twice_the_price_releases_half_the_io() -> None:
    cheap = step(OPENING, epoch(usage("a", 100 * USD_UNIT)), PARAMS).report
    dear = step(OPENING, epoch(usage("a", 100 * USD_UNIT), price=2 * CENTS_16), PARAMS).report
    assert dear.io_paid * 2 == cheap.io_paid
    assert dear.io_value_nano_usd == cheap.io_value_nano_usd


def test_beyond_the_limit_the_fee_vault_pays_the_rest_in_usd() -> None:
    report = step(OPENING, epoch(usage("a", 1_000 * USD_UNIT)), PARAMS).report
    assert report.io_paid == report.io_limit == 181_452_128_520
    assert report.io_value_nano_usd == 290_323_405_632
    assert report.usd_paid_nano_usd == 700 * USD_UNIT - report.io_value_nano_usd
    assert report.surplus_nano_usd == 1_000 * USD_UNIT - report.usd_paid_nano_usd
    assert report.unpaid_nano_usd == 0


def test_revenue_first_releases_io_only_for_the_gap() -> None:
    params = IdeParams(order=PaymentOrder.REVENUE_FIRST)
    covered = step(OPENING, epoch(usage("a", 100 * USD_UNIT)), params).report
    assert (covered.usd_paid_nano_usd, covered.io_paid) == (70 * USD_UNIT, 0)
    assert covered.surplus_nano_usd == 30 * USD_UNIT
    short = step(OPENING, epoch(usage("a", 100 * USD_UNIT, 54 * USD_UNIT)), params).report
    assert (short.usd_paid_nano_usd, short.io_paid) == (54 * USD_UNIT, 100 * IO_UNIT)
    assert (short.surplus_nano_usd, short.psi_raw_ppm) == (0, 771_428)


@pytest.mark.parametrize("price", [None, 0, PARAMS.price_floor_nano_usd - 1])
def test_no_usable_price_moves_no_io_and_the_fee_vault_pays(price: int | None) -> None:
    result = step(OPENING, epoch(usage("a", 100 * USD_UNIT), price=price), PARAMS)
    report, after = result.report, result.state
    assert report.io_price_nano_usd is None
    assert report.io_released == report.io_paid == report.io_burned == 0
    assert report.usd_paid_nano_usd == 70 * USD_UNIT
    assert after.buyback_due_nano_usd == 15 * USD_UNIT
    assert after.fee_vault_nano_usd == 30 * USD_UNIT


def test_a_buyback_that_waited_for_a_price_is_made_when_one_comes() -> None:
    waiting = step(OPENING, epoch(usage("a", 100 * USD_UNIT), price=None), PARAMS).state
    result = step(waiting, epoch(), PARAMS)
    assert result.report.buyback_spent_nano_usd == 15 * USD_UNIT
    assert result.report.io_burned == 93_75000000
    assert result.state.buyback_due_nano_usd == 0
    assert result.state.fee_vault_nano_usd == 15 * USD_UNIT


def test_a_buyback_that_waits_pays_no_supplier() -> None:
    waiting = step(OPENING, epoch(usage("a", 100 * USD_UNIT), price=None), PARAMS).state
    result = step(waiting, epoch(usage("a", 100 * USD_UNIT, 0), price=None), PARAMS)
    assert result.report.usd_paid_nano_usd == 15 * USD_UNIT
    assert result.state.fee_vault_nano_usd == result.state.buyback_due_nano_usd == 15 * USD_UNIT


def test_a_shortfall_is_shared_pro_rata_and_paid_when_there_is_money() -> None:
    short = step(
        OPENING,
        epoch(usage("a", 300, 0), usage("b", 100, 0), usage("c", 0, 100), price=None),
        PARAMS,
    )
    assert short.report.usd_paid_nano_usd == 100
    assert [row.unpaid_nano_usd for row in short.report.payouts] == [135, 45, 0]
    assert short.report.surplus_nano_usd == 0
    assert short.state.debts == (
        Debt(supplier_id="a", nano_usd=135),
        Debt(supplier_id="b", nano_usd=45),
    )
    paid = step(short.state, epoch(usage("c", 0, 200), price=None), PARAMS)
    assert paid.report.debt_before_nano_usd == paid.report.usd_paid_nano_usd == 180
    assert (paid.report.obligation_nano_usd, paid.report.psi_raw_ppm) == (0, None)
    assert (paid.report.surplus_nano_usd, paid.state.debts) == (20, ())


def test_a_shortfall_can_be_written_off() -> None:
    params = IdeParams(shortfall=ShortfallRule.WRITE_OFF)
    result = step(OPENING, epoch(usage("a", 100, 0), price=None), params)
    assert (result.report.unpaid_nano_usd, result.report.debt_after_nano_usd) == (70, 0)
    assert result.state.debts == ()


def test_the_floor_of_the_fee_vault_holds() -> None:
    params = IdeParams(fee_vault_floor_nano_usd=60)
    result = step(OPENING, epoch(usage("a", 100), price=None), params)
    assert (result.report.usd_paid_nano_usd, result.report.unpaid_nano_usd) == (40, 30)
    assert result.state.fee_vault_nano_usd == 60


def test_below_its_floor_the_fee_vault_fills_up_before_anything_is_burned() -> None:
    params = IdeParams(fee_vault_floor_nano_usd=1_000)
    state = with_balances(fee_vault_nano_usd=800)
    first = step(state, epoch(usage("a", 0, 150)), params)
    assert (first.report.surplus_nano_usd, first.state.fee_vault_nano_usd) == (0, 950)
    second = step(first.state, epoch(usage("a", 0, 150)), params)
    assert (second.report.surplus_nano_usd, second.state.fee_vault_nano_usd) == (100, 1_050)


def test_only_what_customers_paid_is_revenue() -> None:
    report = step(OPENING, epoch(usage("a", 100, 40)), PARAMS).report
    assert (report.revenue_nano_usd, report.obligation_nano_usd) == (40, 70)


def test_nothing_happened() -> None:
    result = step(OPENING, epoch(), PARAMS)
    idle = Smoothed(
        revenue_nano_usd=0,
        obligation_nano_usd=0,
        stipend_nano_usd=0,
        list_share_nano_usd=0,
        deficit_s=0,
    )
    kept, retired = OPENING.unemitted_io - 1_794 * IO_UNIT, 1_794 * IO_UNIT
    assert result.state == with_balances(
        epoch=1, unemitted_io=kept, retired_unemitted_io=retired, smoothed=idle
    )
    assert result.report.psi_raw_ppm is None
    assert result.report.payouts == ()
    assert result.report.alarms == ()


def test_a_stipend_is_owed_without_any_usage() -> None:
    there = SupplierTime(supplier_id="a", gpu_class="H100-PCIe", gpu_s=3_600, quality_ppm=1_000_000)
    inputs = msgspec.structs.replace(epoch(), availability=(there,))
    result = step(OPENING, inputs, PARAMS)
    (payout,) = result.report.payouts
    assert payout.stipend_nano_usd == payout.obligation_nano_usd == 300_000_000
    assert result.report.stipend_nano_usd == 300_000_000
    assert payout.io_paid == 187500000
    assert result.report.psi_raw_ppm == 0


def test_all_of_a_surplus_is_burned_once_the_reserve_is_full() -> None:
    month = 731 * 70 * USD_UNIT
    full = with_balances(fee_vault_nano_usd=12 * month)
    report = step(full, epoch(usage("a", 100 * USD_UNIT)), PARAMS).report
    assert report.burn_share_ppm == 1_000_000
    assert report.buyback_added_nano_usd == report.surplus_nano_usd == 100 * USD_UNIT
    half = with_balances(fee_vault_nano_usd=730_5 * 9 * 7 * USD_UNIT)
    assert step(half, epoch(usage("a", 100 * USD_UNIT)), PARAMS).report.burn_share_ppm == 750_000


def test_what_is_to_be_retired_is_in_twenty_years_and_not_one_unit_more() -> None:
    params = IdeParams(epoch_s=2_629_800)
    state = opening_state(params)
    for _ in range(240):
        state = step(state, epoch(), params).state
    retired = state.retired_unemitted_io
    assert 107_000_000 * IO_UNIT < retired <= params.retire_target_io
    assert state.unemitted_io + retired == params.unemitted_opening_io


def test_psi_saturates() -> None:
    rows = (usage("a", 2, 0), usage("b", 0, 2**60))
    assert step(OPENING, epoch(*rows), PARAMS).report.psi_raw_ppm == PSI_PPM_MAX


@pytest.mark.parametrize(
    ("state", "inputs", "says"),
    [
        (with_balances(unemitted_io=0), epoch(), "must be equal"),
        (with_balances(fee_vault_nano_usd=-1), epoch(), "state.fee_vault_nano_usd is -1"),
        (with_balances(buyback_due_nano_usd=1), epoch(), "buyback due is 1, above Fee Vault"),
        (with_balances(debts=(Debt(supplier_id="a", nano_usd=0),)), epoch(), "leave it out"),
        (with_balances(debts=(Debt(supplier_id="a", nano_usd=1),) * 2), epoch(), "each once"),
        (OPENING, epoch(usage("a", -1)), "least cost_nano_usd of all usage is -1"),
        (OPENING, epoch(usage("a", 1), usage("a", 2)), "two rows"),
        (OPENING, epoch(usage("", 1)), "names no supplier"),
        (OPENING, epoch(price=-1), "price of IO is -1"),
        (OPENING, there(gpu_s=-1), "least gpu_s of all availability is -1"),
        (OPENING, there(quality_ppm=1_000_001), "quality_ppm is 1000001"),
        (OPENING, there(supplier_id=""), "availability has a row that names no supplier"),
        (OPENING, there(times=2), "availability has two rows"),
        (OPENING, epoch(usage("a", 0, 2**62), usage("b", 0, 2**62)), "charged_nano_usd of all"),
        (with_balances(fee_vault_nano_usd=2**63 - 1), epoch(usage("a", 0, 1)), "Fee Vault with"),
        (
            with_balances(debts=(Debt(supplier_id="a", nano_usd=2**63 - 1),)),
            epoch(usage("a", 10, 0)),
            "what is owed in all",
        ),
    ],
)
def test_refuses_the_impossible_each_time(state: IdeState, inputs: EpochInputs, says: str) -> None:
    for _ in range(2):
        with pytest.raises(InvariantError, match=says):
            step(state, inputs, PARAMS)

"""Sequences of hostile epochs: whatever comes in, nothing comes from nowhere."""

from __future__ import annotations

import itertools
import random

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from ide.canonical import canonical_json, record_hash
from ide.epoch import EpochInputs, EpochResult, SupplierTime, SupplierUsage
from ide.explain import explain, payout_lines
from ide.invariants import supply_io
from ide.params import IdeParams, PaymentOrder, ShortfallRule, TokenRate
from ide.state import IdeState, opening_state
from ide.step import step
from metering.money import IO_UNIT, USD_UNIT

# From dust to more than the network could ever earn in an epoch; zero is common.
amounts = st.one_of(
    st.just(0),
    st.integers(0, 20),
    st.integers(0, 10**6),
    st.integers(0, 10**9 * USD_UNIT),
)
prices = st.one_of(
    st.none(),
    st.integers(0, 2_000_000),  # about the floor
    st.integers(10**7, 10**10),  # 0.01 to 10 USD
    st.integers(10**15, 2**62),  # a base unit worth dollars, and beyond all reason
)


@st.composite
def all_inputs(draw: st.DrawFn) -> EpochInputs:
    keys = draw(st.lists(st.tuples(st.sampled_from("abcde"), st.sampled_from("mn")), unique=True))
    rows = tuple(
        SupplierUsage(
            supplier_id=supplier,
            model=model,
            prompt_tokens=draw(st.integers(0, 10**9)),
            completion_tokens=draw(st.integers(0, 10**9)),
            cost_nano_usd=draw(amounts),
            charged_nano_usd=draw(amounts),
            charges=1,
        )
        for supplier, model in keys
    )
    there = draw(
        st.lists(
            st.tuples(st.sampled_from("abcf"), st.sampled_from(("B200", "T4", "abacus"))),
            unique=True,
        )
    )
    availability = tuple(
        SupplierTime(
            supplier_id=supplier,
            gpu_class=gpu_class,
            gpu_s=draw(st.sampled_from((0, 1, 3_600, 10**9))),
            quality_ppm=draw(st.integers(0, 10**6)),
        )
        for supplier, gpu_class in there
    )
    return EpochInputs(usage=rows, io_price_nano_usd=draw(prices), availability=availability)


@st.composite
def all_params(draw: st.DrawFn) -> IdeParams:
    rate = TokenRate(model="n", prompt_nano_usd=200, completion_nano_usd=900)
    return IdeParams(
        order=draw(st.sampled_from(PaymentOrder)),
        shortfall=draw(st.sampled_from(ShortfallRule)),
        burn_share_ppm=draw(st.sampled_from((500_000, 500_001, 777_777, 1_000_000))),
        usage_share_ppm=draw(st.sampled_from((0, 333_333, 700_000, 1_000_000))),
        release_ppb_per_hour=draw(st.sampled_from((0, 15_600, 10**6, 10**9))),
        retire_ppb_per_hour=draw(st.sampled_from((0, 15_600, 10**9))),
        reserve_high_months=draw(st.sampled_from((6, 12))),
        smoothing_s=draw(st.sampled_from((1, 36_000, 2_592_000))),
        proposal_after_s=draw(st.sampled_from((0, 7_200))),
        retire_target_io=draw(st.sampled_from((0, 115_000_000 * IO_UNIT, 2**62))),
        fee_vault_floor_nano_usd=draw(st.sampled_from((0, 1, 1_000 * USD_UNIT))),
        price_floor_nano_usd=draw(st.sampled_from((1, 1_000_000))),
        token_rates=draw(st.sampled_from(((), (rate,)))),
    )


def fold(params: IdeParams, epochs: list[EpochInputs]) -> list[EpochResult]:
    results: list[EpochResult] = []
    state = opening_state(params)
    for inputs in epochs:
        results.append(step(state, inputs, params))
        state = results[-1].state
    return results


def issued_io(state: IdeState) -> int:
    return state.cap_io - state.unemitted_io - state.retired_unemitted_io


@settings(max_examples=400, deadline=None)
@given(params=all_params(), epochs=st.lists(all_inputs(), min_size=1, max_size=8))
def test_conservation_over_hostile_epochs(params: IdeParams, epochs: list[EpochInputs]) -> None:
    check_all(params, epochs, fold(params, epochs))


def check_all(params: IdeParams, epochs: list[EpochInputs], results: list[EpochResult]) -> None:
    states = [opening_state(params), *(result.state for result in results)]
    for (before, after), result, inputs in zip(
        itertools.pairwise(states), results, epochs, strict=True
    ):
        check_supply(before, after)
        assert after.retired_unemitted_io <= params.retire_target_io
        check_balances(after)
        check_usd(before, after, result, inputs)
        check_debts(before, after, result, params)
        check_payouts(result, inputs, params)
        check_burn(before, result, params)


def check_supply(before: IdeState, after: IdeState) -> None:
    assert supply_io(after) == 800_000_000 * IO_UNIT
    assert issued_io(before) <= issued_io(after) <= after.cap_io
    assert after.burned_circulating_io >= before.burned_circulating_io
    assert after.retired_unemitted_io >= before.retired_unemitted_io


def check_balances(state: IdeState) -> None:
    balances = [value for value in msgspec.structs.astuple(state) if isinstance(value, int)]
    assert min(balances) >= 0
    assert all(debt.nano_usd > 0 for debt in state.debts)


def check_usd(before: IdeState, after: IdeState, result: EpochResult, inputs: EpochInputs) -> None:
    came = sum(row.charged_nano_usd for row in inputs.usage)
    went = sum(row.usd_paid_nano_usd for row in result.report.payouts)
    went += result.report.buyback_spent_nano_usd
    assert after.fee_vault_nano_usd == before.fee_vault_nano_usd + came - went


def check_debts(before: IdeState, after: IdeState, result: EpochResult, params: IdeParams) -> None:
    report = result.report
    settled = report.io_value_nano_usd + report.rounding_nano_usd + report.usd_paid_nano_usd
    owed = sum(debt.nano_usd for debt in before.debts) + report.obligation_nano_usd
    carried = owed - settled if params.shortfall is ShortfallRule.CARRY_DEBT else 0
    assert sum(debt.nano_usd for debt in after.debts) == carried


def check_payouts(result: EpochResult, inputs: EpochInputs, params: IdeParams) -> None:
    report = result.report
    assert sum(row.io_paid for row in report.payouts) == report.io_paid <= report.io_limit
    price = inputs.io_price_nano_usd
    for row in report.payouts:
        owed = row.obligation_nano_usd + row.debt_before_nano_usd
        if report.io_price_nano_usd is None:
            assert (row.io_paid, row.rounding_nano_usd) == (0, 0)
            continue
        assert price is not None
        # In exact arithmetic, with USD scaled by IO_UNIT: never over, under by < 1 base unit.
        met = row.io_paid * price + (row.usd_paid_nano_usd + row.unpaid_nano_usd) * IO_UNIT
        assert met <= owed * IO_UNIT < met + max(price, 0) + IO_UNIT
    if report.io_paid < report.io_limit - len(report.payouts) and report.io_price_nano_usd:
        assert report.unpaid_nano_usd == 0


def check_burn(before: IdeState, result: EpochResult, params: IdeParams) -> None:
    report = result.report
    assert 2 * report.buyback_added_nano_usd >= report.surplus_nano_usd
    assert report.buyback_added_nano_usd <= report.surplus_nano_usd
    after = result.state
    due = before.buyback_due_nano_usd + report.buyback_added_nano_usd
    assert report.buyback_spent_nano_usd + after.buyback_due_nano_usd == due
    if report.io_price_nano_usd is not None and after.circulating_io:
        # Nothing that buys a base unit is left unspent.
        assert after.buyback_due_nano_usd * IO_UNIT < report.io_price_nano_usd


@settings(max_examples=50, deadline=None)
@given(params=all_params(), epochs=st.lists(all_inputs(), min_size=1, max_size=8))
def test_replay_from_stored_text_gives_the_same_hashes(
    params: IdeParams, epochs: list[EpochInputs]
) -> None:
    stored_params = canonical_json(params)
    stored_epochs = [canonical_json(inputs) for inputs in epochs]
    replayed = fold(
        msgspec.json.decode(stored_params, type=IdeParams),
        [msgspec.json.decode(text, type=EpochInputs) for text in stored_epochs],
    )
    results = fold(params, epochs)
    assert [record_hash(r.state) for r in replayed] == [record_hash(r.state) for r in results]
    assert [canonical_json(r.report) for r in replayed] == [
        canonical_json(r.report) for r in results
    ]


@settings(max_examples=100, deadline=None)
@given(params=all_params(), inputs=all_inputs(), shuffled=st.randoms(use_true_random=False))
def test_the_order_of_usage_rows_changes_nothing(
    params: IdeParams, inputs: EpochInputs, shuffled: random.Random
) -> None:
    rows = list(inputs.usage)
    shuffled.shuffle(rows)
    state = opening_state(params)
    other = msgspec.structs.replace(inputs, usage=tuple(rows))
    assert step(state, other, params) == step(state, inputs, params)


@settings(max_examples=100, deadline=None)
@given(params=all_params(), inputs=all_inputs())
def test_every_epoch_can_be_explained(params: IdeParams, inputs: EpochInputs) -> None:
    result = step(opening_state(params), inputs, params)
    assert all(line.label and line.value and line.formula for line in explain(result, params))
    assert len(payout_lines(result.report)) == len(result.report.payouts)

"""A proposal's figures are tried out: each, put to work alone, brings psi to 1."""

from __future__ import annotations

import msgspec
import pytest

from ide.epoch import EpochInputs, EpochReport, Proposal, SupplierTime, SupplierUsage
from ide.params import IdeParams, Stipend
from ide.state import opening_state
from ide.step import step
from metering.money import USD_UNIT

PARAMS = IdeParams(proposal_after_s=7_200)
GPU_H = 1_000


def inputs(revenue: int, list_cost: int | None = None) -> EpochInputs:
    row = SupplierUsage(
        supplier_id="a",
        model="m",
        prompt_tokens=1,
        completion_tokens=1,
        cost_nano_usd=revenue if list_cost is None else list_cost,
        charged_nano_usd=revenue,
        charges=1,
    )
    there = SupplierTime(
        supplier_id="a", gpu_class="H100-PCIe", gpu_s=GPU_H * 3_600, quality_ppm=1_000_000
    )
    return EpochInputs(usage=(row,), io_price_nano_usd=160_000_000, availability=(there,))


def last_report(epoch: EpochInputs, params: IdeParams, epochs: int = 3) -> EpochReport:
    state = opening_state(params)
    for _ in range(epochs):
        result = step(state, epoch, params)
        state = result.state
    return result.report


def proposed(epoch: EpochInputs, params: IdeParams = PARAMS) -> Proposal:
    proposal = last_report(epoch, params).proposal
    assert proposal is not None
    return proposal


def test_none_while_the_deficit_is_young_and_none_without_one() -> None:
    assert last_report(inputs(200 * USD_UNIT), PARAMS, epochs=1).proposal is None
    assert last_report(inputs(200 * USD_UNIT), PARAMS, epochs=2).proposal is not None
    assert last_report(inputs(2_000 * USD_UNIT), PARAMS).proposal is None


@pytest.mark.parametrize("lever", ["hardware_nano_usd", "target_roi_ppm_per_year"])
def test_hardware_price_and_target_roi(lever: str) -> None:
    epoch = inputs(400 * USD_UNIT)  # owed: 300 of stipend and 280 of usage
    value = getattr(proposed(epoch), lever)
    mended = msgspec.structs.replace(PARAMS, **{lever: value})
    psi = last_report(epoch, mended).psi_raw_ppm
    assert psi is not None
    assert 1_000_000 <= psi < 1_000_100


def test_usage_share() -> None:
    epoch = inputs(400 * USD_UNIT)
    value = proposed(epoch).usage_share_ppm
    assert value is not None
    mended = msgspec.structs.replace(PARAMS, usage_share_ppm=value)
    psi = last_report(epoch, mended).psi_raw_ppm
    assert psi is not None
    assert 1_000_000 <= psi < 1_000_100


def test_customers_prices() -> None:
    ppm = proposed(inputs(400 * USD_UNIT)).customer_prices_ppm
    assert ppm == 2_500_000
    psi = last_report(inputs(400 * USD_UNIT * ppm // 10**6), PARAMS).psi_raw_ppm
    assert psi == 1_000_000


def test_a_lever_that_is_not_enough_is_none() -> None:
    # 20 of revenue, 14 of usage to pay and 300 of stipend.
    proposal = proposed(inputs(20 * USD_UNIT))
    assert proposal.usage_share_ppm is None
    assert proposal.hardware_nano_usd is not None
    # Customers pay half of the list price: dearer tokens owe suppliers more than they bring.
    assert proposed(inputs(100 * USD_UNIT, 200 * USD_UNIT)).customer_prices_ppm is None


def test_stipends_of_ones_own_are_not_moved_by_the_tables_levers() -> None:
    own = Stipend(gpu_class="H100-PCIe", nano_usd_per_hour=300_000_000)
    params = msgspec.structs.replace(PARAMS, stipends=(own,))
    proposal = proposed(inputs(400 * USD_UNIT), params)
    assert proposal.hardware_nano_usd is None
    assert proposal.target_roi_ppm_per_year is None


def test_what_is_missing_a_month() -> None:
    # 580 owed and 400 earned an hour, 730.5 hours a month.
    assert proposed(inputs(400 * USD_UNIT)).missing_nano_usd_per_month == 131_490 * USD_UNIT

from __future__ import annotations

from ide.epoch import EpochInputs, SupplierUsage
from ide.params import IdeParams
from ide.state import opening_state
from ide.step import step
from metering.money import IO_UNIT, USD_UNIT

HOURS_A_YEAR = 8_766


def test_the_first_year_burns_what_was_promised_at_the_published_revenue_and_price() -> None:
    params = IdeParams()
    state = opening_state(params)
    revenue = 650_000 * 12 * USD_UNIT // HOURS_A_YEAR
    usage = SupplierUsage(
        supplier_id="a",
        model="m",
        prompt_tokens=0,
        completion_tokens=0,
        cost_nano_usd=revenue,
        charged_nano_usd=revenue,
        charges=1,
    )
    inputs = EpochInputs(usage=(usage,), io_price_nano_usd=160_000_000)
    for _ in range(HOURS_A_YEAR):
        state = step(state, inputs, params).state
    assert state.burned_circulating_io >= 12_000_000 * IO_UNIT
    # The figures of docs/ide.md.
    assert state.burned_circulating_io // (100_000 * IO_UNIT) == 147
    released = params.unemitted_opening_io - state.unemitted_io - state.retired_unemitted_io
    assert released // (100_000 * IO_UNIT) == 148
    assert state.debts == ()

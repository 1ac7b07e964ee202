from __future__ import annotations

import msgspec

from ide.epoch import EpochInputs, SupplierUsage
from ide.explain import explain, payout_lines, supply_lines
from ide.invariants import Books
from ide.params import IdeParams, PaymentOrder, ShortfallRule, TokenRate
from ide.state import IdeState, opening_state
from ide.step import step
from metering.money import USD_UNIT


def lines_of(
    cost: int,
    charged: int,
    price: int | None = 160_000_000,
    params: IdeParams | None = None,
    state: IdeState | None = None,
) -> dict[str, tuple[str, str]]:
    params = params or IdeParams()
    row = SupplierUsage(
        supplier_id="a",
        model="m",
        prompt_tokens=1_200,
        completion_tokens=300,
        cost_nano_usd=cost,
        charged_nano_usd=charged,
        charges=1,
    )
    inputs = EpochInputs(usage=(row,) if cost or charged else (), io_price_nano_usd=price)
    result = step(state or opening_state(params), inputs, params)
    return {line.label: (line.value, line.formula) for line in explain(result, params)}


def test_each_figure_with_the_numbers_it_came_from() -> None:
    lines = lines_of(1_000 * USD_UNIT, 1_000 * USD_UNIT)
    assert lines["obligation"] == (
        "$700",
        "70% of the list cost, $1,000, of 1,200 prompt and 300 completion tokens",
    )
    assert lines["psi"] == ("1.428571", "$1,000 revenue / $700 obligation")
    assert lines["IO needed"] == ("4,375 IO", "owed / $0.16 per IO")
    assert lines["release limit"] == (
        "1,814.5212852 IO",
        "(231,315,467 IO in pool and vault - 115,000,000 IO to be retired)"
        " x 15,600 ppb an hour x 3,600 s",
    )
    assert lines["IO paid"] == ("1,814.5212852 IO", "Reward Vault, worth $290.323405632")
    assert lines["Fee Vault can pay"] == (
        "$1,000",
        "$0 held + $1,000 revenue - $0 buyback due - $0 floor",
    )
    assert lines["USD paid"][0] == "$409.676594368"
    assert lines["surplus"][0] == "$590.323405632"
    assert lines["to buy back"] == (
        "$295.161702816",
        "50% of the surplus, rounded up; the reserve is $0",
    )
    assert lines["IO burned"] == ("1,844.7606426 IO", "for $295.161702816 of the Fee Vault")


def test_without_a_price() -> None:
    lines = lines_of(100, 100, price=None)
    assert lines["IO price"][0] == "none"
    assert lines["IO needed"] == ("0 IO", "no price, so no IO")
    assert lines["IO burned"] == ("0 IO", "no price to buy at")
    assert lines["buyback still due"][0] == "$0.000000015"


def test_an_epoch_without_charges() -> None:
    lines = lines_of(0, 0)
    assert lines["obligation"] == ("$0", "0 prompt and 0 completion tokens, at no cost")
    assert lines["psi"] == ("none", "revenue / obligation: nothing was owed")
    assert lines["IO burned"] == ("0 IO", "nothing is due")


def test_a_shortfall_says_what_becomes_of_it() -> None:
    assert lines_of(100, 0, price=None)["unpaid"] == (
        "$0.00000007",
        "both vaults short: shared pro rata, carried as debt",
    )
    params = IdeParams(shortfall=ShortfallRule.WRITE_OFF)
    assert "written off" in lines_of(100, 0, price=None, params=params)["unpaid"][1]


def test_dust_and_need_beyond_all_measure() -> None:
    assert lines_of(2, 2)["IO burned"][1] == "what is due does not buy one base unit"
    assert lines_of(2**62, 0)["IO needed"][1] == "all the IO there can be, or more"


def test_revenue_first_puts_the_fee_vault_first() -> None:
    params = IdeParams(order=PaymentOrder.REVENUE_FIRST)
    labels = list(lines_of(100, 50, params=params))
    assert labels.index("USD paid") < labels.index("IO needed")
    assert lines_of(100, 50, params=params)["IO needed"][1] == (
        "(owed - $0.00000005 paid in USD) / $0.16 per IO"
    )


def test_token_rates_and_odd_shares_are_named() -> None:
    rate = TokenRate(model="other", prompt_nano_usd=1, completion_nano_usd=1)
    params = IdeParams(token_rates=(rate,), usage_share_ppm=333_300)
    assert lines_of(100, 100, params=params)["obligation"][1].startswith(
        "tokens x the rate of their model, where there is none 33.33% of the list cost"
    )


def test_payouts_and_supply() -> None:
    params = IdeParams()
    row = SupplierUsage(
        supplier_id="a",
        model="m",
        prompt_tokens=1,
        completion_tokens=1,
        cost_nano_usd=1_430,
        charged_nano_usd=1_430,
        charges=1,
    )
    inputs = EpochInputs(usage=(row,), io_price_nano_usd=160_000_000)
    result = step(opening_state(params), inputs, params)
    (payout,) = payout_lines(result.report)
    assert payout.owed == "$0.000001001"
    assert payout.in_io == "0.00000625 IO = $0.000001"
    assert payout.rounding == "$0.000000001"
    state = result.state
    books = Books(
        issued_io=state.cap_io,
        unemitted_io=state.unemitted_io,
        reward_vault_io=state.reward_vault_io,
        circulating_io=state.circulating_io,
        treasury_io=0,
        supplier_io=state.supplier_io - 1,
        stake_io=0,
        exchange_io=0,
        burned_io=state.burned_circulating_io,
        retired_io=state.retired_unemitted_io,
        fee_vault_nano_usd=0,
    )
    lines = {line.part: line[1:3] for line in supply_lines(state, books)}
    assert lines["cap"] == ("800,000,000", "800,000,000")
    assert lines["sum"] == ("800,000,000", "799,999,999.99999999")
    later = msgspec.structs.replace(books, supplier_io=state.supplier_io)
    assert {line.in_ledger for line in supply_lines(state, later)[-2:]} == {"800,000,000"}


def test_how_it_stands() -> None:
    lines = lines_of(1_000 * USD_UNIT, 1_000 * USD_UNIT)
    assert lines["psi smoothed"] == (
        "1.428571",
        "revenue / obligation, each smoothed over 30 days",
    )
    assert lines["runway"][0] == "120 months or more"
    assert lines["IO retired"][0] == "1,794 IO"
    assert "alarm" not in lines


def test_a_lasting_deficit_is_explained_with_what_would_end_it() -> None:
    params = IdeParams(proposal_after_s=3_600)
    lines = lines_of(1_000 * USD_UNIT, 350 * USD_UNIT, params=params)
    assert lines["alarm"][0] == "unpaid"
    assert lines["proposal: usage share"][0] == "35%"
    assert lines["proposal: hardware price"][0] == "not enough"
    assert "$255,675 a month are missing" in lines["proposal: usage share"][1]

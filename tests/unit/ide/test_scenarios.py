"""What the acceptance of the engine asks of its scenarios, on the paths that the simulator runs."""

from __future__ import annotations

from functools import cache
from random import Random

import msgspec
import pytest

from ide.legacy import emitted_io
from ide.params import DAY_S, HOUR_S, MONTH_S
from ide.simulator.path import LEGACY_MONTHS_BEFORE, Path, churned
from ide.simulator.run import Plan, play
from ide.simulator.scenario import (
    NAMES,
    Churn,
    Event,
    Scenario,
    ScenarioError,
    What,
    built_in,
    scenario_from_toml,
)
from ide.simulator.summary import Summary, summarize_ide, summarize_legacy, window
from ide.simulator.world import Day, days_of
from metering.money import IO_UNIT, PPM


@cache
def played(name: str) -> Path:
    return run(built_in(name), 365 * built_in(name).years)


def run(
    scenario: Scenario, days: int, *, epoch_s: int = DAY_S, seed: int = 1, path: int = 0
) -> Path:
    plan = Plan(scenario=scenario, days=days, epoch_s=epoch_s, seed=seed, paths=1)
    return play(plan, path)


def market(scenario: Scenario, days: int, *, central: bool = True) -> list[Day]:
    return days_of(scenario, days, Random(1), central=central)


def summaries(name: str) -> tuple[Summary, Summary]:
    path, scenario = played(name), built_in(name)
    return summarize_ide(path, scenario), summarize_legacy(path, scenario)


def test_s1_income_holds_while_the_price_halves() -> None:
    ide, legacy = summaries("S1")
    assert ide.supplier_income_change_ppm == 0
    assert legacy.supplier_income_change_ppm == -500_000
    assert ide.first_shortfall_day is None
    assert ide.runway_months_min == 120


def test_s2_availability_holds_and_all_that_is_owed_is_paid_while_demand_is_down_55() -> None:
    ide, _ = summaries("S2")
    assert ide.availability_income_change_ppm == 0
    assert ide.first_shortfall_day is None
    assert ide.debt_max_nano_usd == 0
    assert ide.runway_months_min is not None
    assert 6 <= ide.runway_months_min < 120


def test_s3_is_proposed_90_days_before_the_first_unpaid_epoch() -> None:
    ide, _ = summaries("S3")
    assert ide.psi_min_ppm is not None
    assert ide.psi_min_ppm < PPM
    assert ide.first_proposal_day is not None
    assert ide.first_shortfall_day is not None
    assert ide.first_shortfall_day - ide.first_proposal_day >= 90
    assert ide.first_warning_day is not None
    assert ide.first_warning_day <= ide.first_proposal_day


def test_s4_is_warned_of_90_days_before_it_is_short_and_all_is_paid_in_the_end() -> None:
    ide, _ = summaries("S4")
    assert ide.first_warning_day is not None
    assert ide.first_shortfall_day is not None
    assert ide.first_shortfall_day - ide.first_warning_day >= 90
    assert ide.unpaid_days > 0
    assert ide.debt_end_nano_usd == 0


@pytest.mark.parametrize("name", ["S3", "S4"])
def test_hourly_epochs_warn_as_early(name: str) -> None:
    scenario = built_in(name)
    path = run(scenario, 300, epoch_s=HOUR_S)
    ide, daily = summarize_ide(path, scenario), summaries(name)[0]
    assert ide.first_proposal_day is not None
    assert ide.first_shortfall_day is not None
    assert ide.first_shortfall_day - ide.first_proposal_day >= 90
    assert daily.first_shortfall_day is not None
    assert abs(ide.first_shortfall_day - daily.first_shortfall_day) <= 3


@pytest.mark.parametrize("name", ["S2", "S3", "S4", "no-gpus"])
@pytest.mark.parametrize("by_tokens", [True, False], ids=["token rates", "list price"])
def test_what_is_due_is_what_it_would_be_if_nothing_had_happened(
    name: str, by_tokens: bool
) -> None:
    scenario = built_in(name)
    if not by_tokens:
        params = msgspec.structs.replace(scenario.params, token_rates=())
        scenario = msgspec.structs.replace(scenario, params=params)
    quiet = run(msgspec.structs.replace(scenario, events=()), 120)
    for shocked, same in zip(run(scenario, 120).ide, quiet.ide, strict=True):
        assert shocked.due_nano_usd == same.due_nano_usd
        assert shocked.stipend_due_nano_usd == same.stipend_due_nano_usd


def test_launch_burns_what_was_promised() -> None:
    ide, _ = summaries("launch")
    assert ide.burned_first_year_io >= 12_000_000 * IO_UNIT
    assert ide.first_warning_day is None


def test_h1_income_holds_while_the_token_loses_98_percent() -> None:
    ide, legacy = summaries("H1")
    assert ide.supplier_income_change_ppm == 0
    assert legacy.supplier_income_change_ppm < -980_000


def test_without_a_price_no_io_moves_and_suppliers_are_paid_in_usd() -> None:
    path = played("oracle-outage")
    before, during = path.ide[89], path.ide[90:120]
    assert {day.price_nano_usd for day in during} == {None}
    assert {(day.unemitted_io, day.burned_io, day.retired_io) for day in during} == {
        (before.unemitted_io, before.burned_io, before.retired_io)
    }
    assert all(day.unpaid_nano_usd == 0 for day in during)
    assert path.ide[121].burned_io > before.burned_io


def test_without_gpus_nobody_is_owed_and_without_customers_the_reserve_pays_until_it_is_gone() -> (
    None
):
    assert {day.obligation_nano_usd for day in played("no-gpus").ide[90:150]} == {0}
    ide, _ = summaries("no-revenue")
    assert ide.first_warning_day is not None
    assert ide.first_shortfall_day is not None
    assert ide.first_warning_day < ide.first_shortfall_day
    assert ide.unpaid_days > 30


def test_the_cap_is_reached_and_never_passed() -> None:
    days = played("cap").ide
    assert days[-1].unemitted_io < days[0].unemitted_io // 1_000_000
    issued = [800_000_000 * IO_UNIT - day.unemitted_io - day.retired_io for day in days]
    assert max(issued) <= 800_000_000 * IO_UNIT


@pytest.mark.parametrize("name", NAMES)
def test_supply_is_what_was_issued_less_what_was_burned(name: str) -> None:
    ide, legacy = summaries(name)
    parts = ide.supply_io + ide.unemitted_io + ide.retired_unemitted_io + ide.burned_circulating_io
    assert parts == legacy.supply_io + legacy.unemitted_io == 800_000_000 * IO_UNIT


def test_the_fixed_schedule_goes_on_where_it_was() -> None:
    path = played("launch")
    start = LEGACY_MONTHS_BEFORE * MONTH_S
    assert sum(day.emitted_io for day in path.legacy) == emitted_io(
        start + 365 * DAY_S
    ) - emitted_io(start)


def test_the_same_seed_gives_the_same_hash_and_another_gives_another() -> None:
    scenario = built_in("S4")

    def hashed(seed: int, path: int) -> str:
        return run(scenario, 40, seed=seed, path=path).ide_hash

    assert hashed(1, 0) == hashed(1, 0)
    assert len({hashed(1, 0), hashed(2, 0), hashed(1, 1)}) == 3


def test_only_the_first_path_keeps_to_the_scenarios_price() -> None:
    scenario = built_in("launch")
    central, other = (market(scenario, 365, central=central) for central in (True, False))
    assert {day.price_nano_usd for day in central} == {160_000_000}
    assert len({day.price_nano_usd for day in other}) > 300


def own(text: str) -> Scenario:
    return scenario_from_toml(f'name = "own"\ntitle = "mine"\nyears = 1\n{text}')


def test_events_ramp_add_up_and_end() -> None:
    scenario = own(
        '[[events]]\nwhat = "demand"\nfrom_day = 10\nramp_days = 4\nuntil_day = 20\nto_ppm = 0\n'
        '[[events]]\nwhat = "price"\nfrom_day = 0\nramp_days = 2\nto_ppm = 250_000\n'
        "[market]\ndemand_noise_ppm = 0\n"
    )
    days = market(scenario, 25)
    demand = [day.demand_ppm for day in days]
    assert demand[9:15] == [PPM, 750_000, 500_000, 250_000, 0, 0]
    assert demand[20] == PPM
    assert [day.price_nano_usd for day in days[:3]] == [80_000_000, 40_000_000, 40_000_000]
    assert window(scenario, 25) == range(13, 20)
    assert window(scenario, 5) == range(4, 5)


def test_cheaper_compute_is_used_more_by_its_elasticity() -> None:
    scenario = own(
        '[[events]]\nwhat = "compute_price"\nfrom_day = 0\nto_ppm = 250_000\n'
        "[market]\ndemand_noise_ppm = 0\ndemand_elasticity_ppm = 500_000\n"
    )
    assert market(scenario, 1)[0].demand_ppm == 2 * PPM


def test_suppliers_leave_below_their_break_even_and_come_back() -> None:
    churn = Churn(break_even_ppm=900_000, leave_ppm_per_day=10_000, return_ppm_per_day=2_000)
    assert churned(PPM, 89, 100, churn) == 990_000
    assert churned(990_000, 90, 100, churn) == 992_000
    assert churned(999_000, 100, 100, churn) == PPM
    assert churned(PPM, 0, 0, churn) == PPM


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("nonsense = 1", "unknown field `nonsense`"),
        ('[[events]]\nwhat = "war"\nfrom_day = 1\nto_ppm = 1', "war"),
        ('[[events]]\nwhat = "price"\nfrom_day = 9\nuntil_day = 9\nto_ppm = 1', "full effect"),
        ('[market]\nprice_usd = "cheap"', "no amount of USD"),
        ('[fleet]\n"abacus" = 3', "the fleet has abacus"),
        ("[params]\nburn_share_ppm = 1", "burn_share_ppm"),
        ("years = 2", "not TOML|Cannot overwrite"),
    ],
)
def test_a_scenario_that_cannot_be(text: str, says: str) -> None:
    with pytest.raises(ScenarioError, match=says):
        own(text)


def test_every_built_in_scenario_is_named_for_its_file() -> None:
    assert [built_in(name).name for name in NAMES] == list(NAMES)
    kinds = {event.what for name in NAMES for event in built_in(name).events}
    assert kinds == set(What)
    assert msgspec.json.decode(msgspec.json.encode(built_in("S1")), type=Scenario) == built_in("S1")
    assert isinstance(built_in("S1").events[0], Event)

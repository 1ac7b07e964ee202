"""What a run comes to: one line an engine, and how far apart the paths of a Monte Carlo lie. Pure.

Amounts of IO are base units, days count from 0, None where something never came. Income changes are
against the same days without the events, over the days on which all events are in full effect.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import msgspec

from ide.simulator.path import IdeDay, LegacyDay, Path
from ide.simulator.scenario import Scenario
from metering.money import PPM

_YEAR_DAYS = 365

Row = TypeVar("Row", IdeDay, LegacyDay)


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """One engine on one path. `psi_min_ppm` is the least smoothed psi in millionths."""

    supplier_income_change_ppm: int
    availability_income_change_ppm: int | None
    burned_circulating_io: int
    burned_first_year_io: int
    retired_unemitted_io: int
    supply_io: int
    unemitted_io: int
    psi_min_ppm: int | None
    first_warning_day: int | None
    first_proposal_day: int | None
    first_shortfall_day: int | None
    runway_months_min: int | None
    debt_max_nano_usd: int
    debt_end_nano_usd: int
    paid_nano_usd: int
    unpaid_days: int
    fee_vault_end_nano_usd: int
    gpus_min_ppm: int
    state_hash: str


class Spread(msgspec.Struct, frozen=True, kw_only=True):
    """One figure over all paths; the paths where it never came count in `never` alone."""

    p5: int | None
    p50: int | None
    p95: int | None
    never: int


def window(scenario: Scenario, days: int) -> range:
    """The days on which every event is in full effect; all days if there is none."""
    start, end = 0, days
    for event in scenario.events:
        start = max(start, event.from_day + max(0, event.ramp_days - 1))
        end = min(end, event.until_day or days)
    return range(start, end) if start < end else range(days - 1, days)


def summarize_ide(path: Path, scenario: Scenario) -> Summary:
    """The engine on one path."""
    days, last = path.ide, path.ide[-1]
    inside = [days[day] for day in window(scenario, len(days))]
    psi = min(
        (day.psi_smoothed_ppm for day in days if day.psi_smoothed_ppm is not None), default=None
    )
    params = scenario.params
    return Summary(
        supplier_income_change_ppm=_change(
            inside, lambda day: day.income_nano_usd, lambda day: day.due_nano_usd
        ),
        availability_income_change_ppm=_change(
            inside, lambda day: day.stipend_income_nano_usd, lambda day: day.stipend_due_nano_usd
        ),
        burned_circulating_io=last.burned_io,
        burned_first_year_io=days[min(_YEAR_DAYS, len(days)) - 1].burned_io,
        retired_unemitted_io=last.retired_io,
        supply_io=params.cap_io - last.unemitted_io - last.retired_io - last.burned_io,
        unemitted_io=last.unemitted_io,
        psi_min_ppm=psi,
        first_warning_day=_first(days, lambda day: day.alarms > 0),
        first_proposal_day=_first(days, lambda day: day.proposal),
        first_shortfall_day=_first(days, lambda day: day.unpaid_nano_usd > 0),
        runway_months_min=min(day.runway_months for day in days),
        debt_max_nano_usd=max(day.debt_nano_usd for day in days),
        debt_end_nano_usd=last.debt_nano_usd,
        paid_nano_usd=sum(day.income_nano_usd for day in days),
        unpaid_days=sum(day.unpaid_nano_usd > 0 for day in days),
        fee_vault_end_nano_usd=last.fee_vault_nano_usd,
        gpus_min_ppm=min(day.gpus_ppm for day in days),
        state_hash=path.ide_hash,
    )


def summarize_legacy(path: Path, scenario: Scenario) -> Summary:
    """The fixed schedule on one path. It owes nothing, so it is never short and never warns."""
    days = path.legacy
    inside = [days[day] for day in window(scenario, len(days))]
    earned = sum(day.revenue_nano_usd for day in days)
    paid = sum(day.income_nano_usd for day in days)
    psi = earned * PPM // paid if paid else None
    unemitted = scenario.params.cap_io - days[-1].supply_io
    return Summary(
        supplier_income_change_ppm=_change(
            inside, lambda day: day.income_nano_usd, lambda day: day.due_nano_usd
        ),
        availability_income_change_ppm=None,
        burned_circulating_io=0,
        burned_first_year_io=0,
        retired_unemitted_io=0,
        supply_io=days[-1].supply_io,
        unemitted_io=unemitted,
        psi_min_ppm=psi,
        first_warning_day=None,
        first_proposal_day=None,
        first_shortfall_day=None,
        runway_months_min=None,
        debt_max_nano_usd=0,
        debt_end_nano_usd=0,
        paid_nano_usd=paid,
        unpaid_days=0,
        fee_vault_end_nano_usd=0,
        gpus_min_ppm=min(day.gpus_ppm for day in days),
        state_hash=path.legacy_hash,
    )


SPREAD = (
    "supplier_income_change_ppm",
    "burned_circulating_io",
    "retired_unemitted_io",
    "supply_io",
    "psi_min_ppm",
    "first_warning_day",
    "first_shortfall_day",
    "runway_months_min",
    "debt_end_nano_usd",
    "gpus_min_ppm",
)
"""Figures whose spread over the paths is told."""


def spread(summaries: Sequence[Summary]) -> dict[str, Spread]:
    """The 5th, 50th and 95th percentile of each figure over the paths."""
    return {name: _spread([getattr(summary, name) for summary in summaries]) for name in SPREAD}


def _spread(values: Sequence[int | None]) -> Spread:
    known = sorted(value for value in values if value is not None)

    def at(percent: int) -> int | None:
        return known[(len(known) - 1) * percent // 100] if known else None

    return Spread(p5=at(5), p50=at(50), p95=at(95), never=len(values) - len(known))


def _change(days: Sequence[Row], got: Callable[[Row], int], due: Callable[[Row], int]) -> int:
    whole = sum(map(due, days))
    change = sum(map(got, days)) - whole
    return (2 * change * PPM + whole) // (2 * whole) if whole else 0


def _first(days: Sequence[IdeDay], holds: Callable[[IdeDay], bool]) -> int | None:
    return next((number for number, day in enumerate(days) if holds(day)), None)

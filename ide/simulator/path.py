"""One path through a scenario: the engine's epochs, and the fixed schedule beside them. Pure."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from ide.canonical import record_hash
from ide.epoch import NO_USAGE, EpochReport
from ide.legacy import emitted_io
from ide.params import DAY_S, MONTH_S
from ide.payouts import earned
from ide.simulator.scenario import Churn, Scenario
from ide.simulator.world import Chance, Day, Fleet, days_of, epochs_a_day
from ide.state import IdeState, opening_state
from ide.step import totals
from metering.money import IO_UNIT, PPM, parse_usd

LEGACY_MONTHS_BEFORE = 23
"""Months that the fixed schedule had run when the engine took over."""

Progress = Callable[[int], None]
"""Called with the number of days done since the last call."""


class IdeDay(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One day of the engine: flows are of the day, all else is as it was at its end.

    `due_nano_usd` is what the same day would have paid if nothing had happened.
    """

    price_nano_usd: int | None
    revenue_nano_usd: int
    obligation_nano_usd: int
    income_nano_usd: int
    stipend_income_nano_usd: int
    due_nano_usd: int
    stipend_due_nano_usd: int
    unpaid_nano_usd: int
    debt_nano_usd: int
    fee_vault_nano_usd: int
    unemitted_io: int
    burned_io: int
    retired_io: int
    psi_smoothed_ppm: int | None
    burn_share_ppm: int
    runway_months: int
    alarms: int
    proposal: bool
    gpus_ppm: int


class LegacyDay(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One day of the fixed schedule: what it emits is what suppliers get, whatever it is worth."""

    emitted_io: int
    income_nano_usd: int
    due_nano_usd: int
    revenue_nano_usd: int
    supply_io: int
    gpus_ppm: int


class LegacyState(msgspec.Struct, frozen=True, kw_only=True):
    """The fixed schedule at the end of a path."""

    age_s: int
    emitted_io: int
    unemitted_io: int


class Path(msgspec.Struct, frozen=True, kw_only=True):
    """Both engines through the same days."""

    ide: list[IdeDay]
    legacy: list[LegacyDay]
    ide_hash: str
    legacy_hash: str


def run_path(
    scenario: Scenario,
    *,
    days: int,
    epoch_s: int,
    rng: Chance,
    central: bool,
    progress: Progress | None = None,
) -> Path:
    """Every day of one path. `epoch_s` must divide a day."""
    market = days_of(scenario, days, rng, central=central)
    engine = _Engine(scenario, epoch_s)
    legacy = _Legacy(scenario)
    ide_days, legacy_days = [], []
    for number, day in enumerate(market):
        ide_days.append(engine.day(day))
        legacy_days.append(legacy.day(day, ide_days[-1].revenue_nano_usd))
        if progress and number % 30 == 29:
            progress(30)
    if progress:
        progress(days % 30)
    return Path(
        ide=ide_days,
        legacy=legacy_days,
        ide_hash=record_hash(engine.state),
        legacy_hash=record_hash(legacy.state()),
    )


class _Engine:
    def __init__(self, scenario: Scenario, epoch_s: int) -> None:
        self._params = msgspec.structs.replace(scenario.params, epoch_s=epoch_s)
        self._fleet = Fleet(scenario, epoch_s)
        stipend = earned(NO_USAGE, self._fleet.whole(), self._params).stipend
        self._stipends = sum(stipend.values())
        self._epochs = epochs_a_day(epoch_s)
        self._churn = scenario.churn
        self._there_ppm = PPM
        self.state: IdeState = msgspec.structs.replace(
            opening_state(self._params),
            fee_vault_nano_usd=parse_usd(scenario.opening_reserve_usd),
        )

    def day(self, day: Day) -> IdeDay:
        usage, outside = self._fleet.epoch(day, self._there_ppm)
        revenue = obligation = income = stipends = owed = met = unpaid = alarms = 0
        proposed = False
        state, params = self.state, self._params
        for _ in range(self._epochs):
            result, _ = totals(state, usage, outside, params)
            state, report = result.state, result.report
            paid = report.io_value_nano_usd + report.rounding_nano_usd + report.usd_paid_nano_usd
            due = report.obligation_nano_usd + report.debt_before_nano_usd
            revenue += report.revenue_nano_usd
            obligation += report.obligation_nano_usd
            income += paid
            stipends += report.stipend_nano_usd * paid // due if due else 0
            owed += due
            met += paid
            if report.unpaid_nano_usd > unpaid:
                unpaid = report.unpaid_nano_usd
            alarms += len(report.alarms)
            proposed = proposed or report.proposal is not None
        self.state = state
        due, stipend_due = self._due(day, report)
        found = IdeDay(
            price_nano_usd=report.io_price_nano_usd,
            revenue_nano_usd=revenue,
            obligation_nano_usd=obligation,
            income_nano_usd=income,
            stipend_income_nano_usd=stipends,
            due_nano_usd=self._epochs * due,
            stipend_due_nano_usd=self._epochs * stipend_due,
            unpaid_nano_usd=unpaid,
            debt_nano_usd=report.debt_after_nano_usd,
            fee_vault_nano_usd=state.fee_vault_nano_usd,
            unemitted_io=state.unemitted_io,
            burned_io=state.burned_circulating_io,
            retired_io=state.retired_unemitted_io,
            psi_smoothed_ppm=report.psi_smoothed_ppm,
            burn_share_ppm=report.burn_share_ppm,
            runway_months=report.runway_months,
            alarms=alarms,
            proposal=proposed,
            gpus_ppm=self._there_ppm * day.gpus_ppm // PPM,
        )
        self._there_ppm = churned(self._there_ppm, met, owed, self._churn)
        return found

    def _due(self, day: Day, report: EpochReport) -> tuple[int, int]:
        """What an epoch of that day would owe if nothing had happened, and its stipends alone."""
        whole = self._there_ppm == day.gpus_ppm == day.compute_price_ppm == PPM
        if whole and day.demand_ppm == day.unshocked_demand_ppm:
            return report.obligation_nano_usd, report.stipend_nano_usd
        tokens = earned(self._fleet.unshocked(day), (), self._params).obligation
        return self._stipends + sum(tokens.values()), self._stipends


class _Legacy:
    def __init__(self, scenario: Scenario) -> None:
        self._age_s = LEGACY_MONTHS_BEFORE * MONTH_S
        self._cap_io = scenario.params.cap_io
        self._unemitted_io = scenario.params.unemitted_opening_io
        self._churn = scenario.churn
        self._there_ppm = PPM
        self._used_to: int | None = None

    def day(self, day: Day, revenue: int) -> LegacyDay:
        emitted = emitted_io(self._age_s + DAY_S) - emitted_io(self._age_s)
        if emitted > self._unemitted_io:
            emitted = self._unemitted_io
        self._age_s += DAY_S
        self._unemitted_io -= emitted
        income = emitted * day.price_nano_usd // IO_UNIT
        self._used_to = self._used_to or income
        found = LegacyDay(
            emitted_io=emitted,
            income_nano_usd=income,
            due_nano_usd=emitted * day.unshocked_price_nano_usd // IO_UNIT,
            revenue_nano_usd=revenue,
            supply_io=self._cap_io - self._unemitted_io,
            gpus_ppm=self._there_ppm,
        )
        # A GPU's part of the emission grows as others leave.
        used_to = self._used_to * self._there_ppm // PPM
        self._there_ppm = churned(self._there_ppm, income, used_to, self._churn)
        return found

    def state(self) -> LegacyState:
        return LegacyState(
            age_s=self._age_s,
            emitted_io=self._cap_io - self._unemitted_io,
            unemitted_io=self._unemitted_io,
        )


def churned(there_ppm: int, got: int, used_to: int, churn: Churn) -> int:
    """The part of the fleet that is there tomorrow, in millionths."""
    if got * PPM < used_to * churn.break_even_ppm:
        return there_ppm - there_ppm * churn.leave_ppm_per_day // PPM
    there_ppm += churn.return_ppm_per_day
    return there_ppm if there_ppm < PPM else PPM

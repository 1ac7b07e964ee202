"""Plots of a run, by matplotlib: both engines side by side, and the fan of a Monte Carlo. Edge."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ide.simulator.run import FanPoint, Run
from metering.money import IO_UNIT, PPM, USD_UNIT

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

IDE, LEGACY, GOOD, BAD, MUTED = "#0b6e99", "#c4622d", "#3a7d44", "#b3261e", "#8a8f98"
_MONTH_DAYS = 365.25 / 12
_SMOOTH_DAYS = 7


def plots(run: Run) -> dict[str, Figure]:
    """Figures by name; needs the `sim` extra."""
    found = {"income": _income(run), "health": _health(run), "supply": _supply(run)}
    if run.plan.paths > 2:
        found["paths"] = _fans(run)
    return found


def _figure(run: Run, title: str, rows: int = 1, columns: int = 2) -> tuple[Figure, list[Axes]]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 4.2 * rows), layout="constrained")
    figure.suptitle(
        f"{run.plan.scenario.name}: {title}", fontsize=13, fontweight="bold", x=0.01, ha="left"
    )
    axes = [figure.add_subplot(rows, columns, place + 1) for place in range(rows * columns)]
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(axis="y", color="#e6e8eb", linewidth=0.8)
        axis.set_axisbelow(True)
        axis.set_xlabel("months")
        for event in run.plan.scenario.events:
            until = min(event.until_day or run.plan.days, run.plan.days)
            axis.axvspan(
                _months(event.from_day), _months(until), color="#f4efe6", zorder=0, linewidth=0
            )
    return figure, axes


def _months(day: int) -> float:
    return day / _MONTH_DAYS


def _smooth(values: Sequence[float]) -> list[float]:
    """The mean of the last week: the noise of single days says nothing."""
    return [
        sum(values[max(0, end - _SMOOTH_DAYS) : end]) / min(end, _SMOOTH_DAYS)
        for end in range(1, len(values) + 1)
    ]


def _line(axis: Axes, values: Sequence[float], color: str, label: str, **how: Any) -> None:
    axis.plot(
        [_months(day) for day in range(len(values))],
        values,
        color=color,
        label=label,
        linewidth=1.8,
        **how,
    )


def _done(axis: Axes, title: str, unit: str) -> None:
    axis.set_title(title, loc="left", fontsize=11)
    axis.set_ylabel(unit)
    axis.margins(x=0)
    handles, _ = axis.get_legend_handles_labels()
    if handles:
        axis.legend(frameon=False, fontsize=9)


def _marks(axis: Axes, run: Run) -> None:
    for day, color, label in (
        (run.ide.first_warning_day, "#d99a1c", "first warning"),
        (run.ide.first_shortfall_day, BAD, "first shortfall"),
    ):
        if day is not None:
            axis.axvline(_months(day), color=color, linestyle="--", linewidth=1.2, label=label)


def _income(run: Run) -> Figure:
    figure, (income, price) = _figure(run, "what suppliers get, in USD")
    thousand = 1_000 * USD_UNIT
    days, legacy = run.central.ide, run.central.legacy
    _line(
        income,
        _smooth([day.due_nano_usd / thousand for day in days]),
        MUTED,
        "target, had nothing happened",
        linestyle=":",
    )
    _line(income, _smooth([day.income_nano_usd / thousand for day in days]), IDE, "IDE")
    _line(
        income,
        _smooth([day.income_nano_usd / thousand for day in legacy]),
        LEGACY,
        "fixed schedule",
    )
    _marks(income, run)
    income.set_ylim(bottom=0)
    _done(income, "Income of all suppliers a day", "thousand USD")
    shown = [(day.price_nano_usd or 0) / USD_UNIT or float("nan") for day in days]
    _line(price, shown, "#5b5f97", "IO price, USD")
    revenue = price.twinx()
    revenue.spines[["top"]].set_visible(False)
    _line(
        revenue,
        _smooth([day.revenue_nano_usd / thousand for day in days]),
        GOOD,
        "revenue a day, thousand USD",
    )
    revenue.set_ylim(bottom=0)
    price.set_ylim(bottom=0)
    lines = [*price.get_lines(), *revenue.get_lines()]
    names = [str(line.get_label()) for line in lines]
    price.legend(lines, names, frameon=False, fontsize=9, loc="lower right")
    price.set_title("What comes from outside", loc="left", fontsize=11)
    price.set_ylabel("USD for one IO")
    price.margins(x=0)
    return figure


def _health(run: Run) -> Figure:
    figure, (psi, runway, vault, debt) = _figure(run, "is it sustainable", rows=2)
    days = run.central.ide
    _line(psi, [min(3.0, (day.psi_smoothed_ppm or 0) / PPM) for day in days], IDE, "psi, smoothed")
    psi.axhline(1, color=BAD, linewidth=1)
    _marks(psi, run)
    psi.set_ylim(bottom=0)
    _done(psi, "Revenue over obligations (shown up to 3)", "psi")
    _line(runway, [day.runway_months for day in days], IDE, "runway")
    runway.axhspan(0, run.plan.scenario.params.runway_warning_months, color="#fbe9e7", zorder=0)
    _marks(runway, run)
    runway.set_ylim(0, 126)
    _done(runway, "Months until something stays unpaid (120: ten years or longer)", "months")
    _line(vault, [day.fee_vault_nano_usd / USD_UNIT / 1_000 for day in days], GOOD, "Fee Vault")
    _marks(vault, run)
    vault.set_ylim(bottom=0)
    _done(vault, "Fee Vault", "thousand USD")
    _line(debt, [day.debt_nano_usd / USD_UNIT / 1_000 for day in days], BAD, "owed to suppliers")
    debt.set_ylim(bottom=0)
    _done(debt, "Debt carried", "thousand USD")
    return figure


def _supply(run: Run) -> Figure:
    figure, (burned, supply) = _figure(run, "what becomes of IO")
    million = 1_000_000 * IO_UNIT
    days, legacy = run.central.ide, run.central.legacy
    cap = run.plan.scenario.params.cap_io
    _line(burned, [day.burned_io / million for day in days], BAD, "bought back and burned")
    _line(burned, [day.retired_io / million for day in days], "#5b5f97", "retired, never emitted")
    burned.set_ylim(bottom=0)
    _done(burned, "Gone for good (IDE)", "million IO")
    issued = [(cap - day.unemitted_io - day.retired_io - day.burned_io) / million for day in days]
    _line(supply, issued, IDE, "IDE")
    _line(supply, [day.supply_io / million for day in legacy], LEGACY, "fixed schedule")
    _done(supply, "Supply", "million IO")
    return figure


def _fans(run: Run) -> Figure:
    figure, axes = _figure(run, f"{run.plan.paths:,} paths", rows=2)
    thousand = 1_000 * USD_UNIT
    shown = (
        ("Income of all suppliers a day", "thousand USD", "income_nano_usd", thousand, 1e9),
        ("psi, smoothed (shown up to 3)", "psi", "psi_ppm", PPM, 3.0),
        ("Fee Vault", "thousand USD", "fee_vault_nano_usd", thousand, 1e9),
        ("Bought back and burned", "million IO", "burned_io", 1_000_000 * IO_UNIT, 1e9),
    )
    for axis, (title, unit, field, scale, most) in zip(axes, shown, strict=True):
        _fan(axis, [row.fan for row in run.outcomes], field, scale, most)
        axis.set_ylim(bottom=0)
        _done(axis, title, unit)
    return figure


def _fan(
    axis: Axes, paths: Sequence[Sequence[FanPoint]], field: str, scale: int, most: float
) -> None:
    months = [_months(point.day) for point in paths[0]]
    moments = [
        sorted(min(most, getattr(path[place], field) / scale) for path in paths)
        for place in range(len(months))
    ]

    def at(percent: int) -> list[float]:
        return [values[(len(values) - 1) * percent // 100] for values in moments]

    axis.fill_between(months, at(5), at(95), color=IDE, alpha=0.15, linewidth=0, label="5% to 95%")
    axis.fill_between(months, at(25), at(75), color=IDE, alpha=0.3, linewidth=0, label="25% to 75%")
    axis.plot(months, at(50), color=IDE, linewidth=1.8, label="median")

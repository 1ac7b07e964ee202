"""`make ide-bench`: how fast epochs are simulated, beside radCAD. `make ide-fuzz`: hostile ones."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from ide.params import DAY_S, HOUR_S
from ide.simulator.run import Plan, process_pool, simulate
from ide.simulator.scenario import NAMES, built_in
from ide.simulator.words import percent_text, ratio_text
from metering.money import IO_UNIT

ROOT = Path(__file__).parents[2]
MODEL = Path(__file__).with_name("radcad_model.py")

TWENTY_YEARS_S, THOUSAND_PATHS_S, RADCAD_TIMES = 30, 120, 3
"""What has to be met."""


@click.group()
def main() -> None:
    """Figures of the engine and its simulator."""


@main.command()
@click.option("--paths", default=1_000, show_default=True, help="Of 5 years, in daily epochs.")
@click.option("--radcad", type=click.Path(path_type=Path), help="A Python that has radcad.")
def pace(paths: int, radcad: Path | None) -> None:
    """20 years hourly, many paths of 5 years, and the same model under radCAD. S4 is the scenario
    that costs most: vaults run dry, suppliers leave, debts are carried."""
    calm, dearest = built_in("base"), built_in("S4")
    hourly = Plan(scenario=dearest, days=7_305, epoch_s=HOUR_S, seed=1, paths=1)
    daily = [
        Plan(scenario=scenario, days=1_826, epoch_s=DAY_S, seed=1, paths=paths)
        for scenario in (calm, dearest)
    ]
    kept = True
    for plan in (hourly, *daily):
        workers, most_s = (1, TWENTY_YEARS_S) if plan is hourly else (2, THOUSAND_PATHS_S)
        epochs = plan.days * plan.paths * DAY_S // plan.epoch_s
        started, cpu = time.monotonic(), os.times()
        with process_pool(workers) as over:
            run = simulate(plan, over)
        wall_s, after = time.monotonic() - started, os.times()
        cpu_s = sum(after[:4]) - sum(cpu[:4])
        kept = kept and wall_s < most_s
        click.echo(
            f"{plan.scenario.name}: {plan.paths:,} paths, {epochs:,} epochs of {plan.epoch_s:,} s,"
            f" {len(plan.scenario.fleet)} GPU classes: {wall_s:.1f} s (limit {most_s}),"
            f" {cpu_s:.1f} s of CPU, {cpu_s / epochs * 1e6:.0f} us an epoch,"
            f" sha256 {run.hashes_sha256[:16]}"
        )
    if radcad is None:
        click.echo("radCAD: give a Python that has radcad and msgspec with --radcad")
    else:
        kept = _beside_radcad(radcad) and kept
    sys.exit(0 if kept else 1)


def _beside_radcad(python: Path) -> bool:
    told = subprocess.run(
        [str(python), str(MODEL), "1826"],
        check=True,
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    found = json.loads(told.stdout)
    times = found["radcad_s"] / found["step_s"]
    click.echo(
        f"radCAD, the same figures, {found['epochs']:,} epochs of CPU, best of 3:"
        f" {found['radcad_s']:.2f} s, step {found['step_s']:.2f} s: {times:.1f} times"
        f" (limit {RADCAD_TIMES})"
    )
    return bool(times >= RADCAD_TIMES)


@main.command()
def scenarios() -> None:
    """What every built-in scenario comes to on its central path, in daily epochs."""
    table = Table(
        "scenario",
        "income",
        "availability",
        "legacy income",
        "psi min",
        "warned",
        "proposed",
        "short",
        "runway min",
        "burned in year 1",
        box=None,
    )
    for name in NAMES:
        scenario = built_in(name)
        days = scenario.years * 1_461 // 4
        plan = Plan(scenario=scenario, days=days, epoch_s=DAY_S, seed=1, paths=1)
        with process_pool(1) as over:
            run = simulate(plan, over)
        ide, legacy = run.ide, run.legacy
        table.add_row(
            name,
            percent_text(ide.supplier_income_change_ppm),
            percent_text(ide.availability_income_change_ppm),
            percent_text(legacy.supplier_income_change_ppm),
            ratio_text(ide.psi_min_ppm),
            *(
                "never" if day is None else str(day)
                for day in (ide.first_warning_day, ide.first_proposal_day, ide.first_shortfall_day)
            ),
            str(ide.runway_months_min),
            f"{ide.burned_first_year_io / IO_UNIT / 1e6:.2f}M IO",
        )
    Console(width=140).print(table)


@main.command()
@click.option("--sequences", default=20_000, show_default=True)
def hostile(sequences: int) -> None:
    """Sequences of epochs with inputs nobody should send: every invariant, and replay."""
    from .hostile import play  # Hypothesis, which each process of `pace` would import too

    started = time.process_time()
    counts = play(sequences)
    click.echo(
        f"{counts['sequences']:,} sequences, {counts['epochs']:,} epochs,"
        f" {counts['unpaid']:,} of them short, {counts['burned']:,} burned,"
        f" {counts['no price']:,} without a price: all hold, all replay to the same hash;"
        f" {time.process_time() - started:.0f} s of CPU"
    )


if __name__ == "__main__":
    main()

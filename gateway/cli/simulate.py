"""`tollgate simulate`: the engine and the fixed schedule through a scenario, side by side."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from gateway.cli.home import echo_json, echo_table, json_option
from ide.explain import io
from ide.params import DAY_S, HOUR_S
from ide.simulator.files import run_json, write_files
from ide.simulator.run import Plan, Run, process_pool, simulate
from ide.simulator.scenario import NAMES, Scenario, ScenarioError, built_in, scenario_from_toml
from ide.simulator.summary import Summary
from ide.simulator.words import percent_text, ratio_text
from metering.money import IO_UNIT

_EPOCHS = {"1h": HOUR_S, "1d": DAY_S}


@click.command(epilog="Example: tollgate simulate --scenario S4 --years 3 --out s4")
@click.option(
    "--scenario",
    required=True,
    help=f"{', '.join(NAMES)}, or a TOML file that says what differs from the base scenario.",
)
@click.option("--years", type=click.IntRange(1, 100), help="The scenario's own, if not given.")
@click.option("--epoch", type=click.Choice(list(_EPOCHS)), default="1d", show_default=True)
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--paths", type=click.IntRange(1, 1_000_000), default=1, show_default=True)
@click.option("--workers", type=click.IntRange(min=1), help="Processes; one for each CPU.")
@click.option("--ray", "ray_address", help="Address of a Ray cluster to run the paths on.")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for CSV, JSON, plots and report.html.",
)
@json_option
def command(
    scenario: str,
    years: int | None,
    epoch: str,
    seed: int,
    paths: int,
    workers: int | None,
    ray_address: str | None,
    out: Path | None,
    as_json: bool,
) -> None:
    """Fold the engine's own step over a scenario, beside the schedule that it replaced.

    The first path follows the scenario; the others walk at random around it.
    """
    world = _scenario(scenario)
    plan = Plan(
        scenario=world,
        days=(years or world.years) * 1_461 // 4,
        epoch_s=_EPOCHS[epoch],
        seed=seed,
        paths=paths,
    )
    with _progress(plan) as told:
        run = _run(plan, workers or os.cpu_count() or 1, ray_address, told)
    written = _write(run, out) if out else []
    if as_json:
        echo_json(run_json(run))
        return
    _print(run)
    for file in written:
        click.echo(f"Wrote {file}")


def _scenario(name: str) -> Scenario:
    try:
        if name in NAMES:
            return built_in(name)
        file = Path(name)
        if not file.is_file():
            raise click.ClickException(f"'{name}' is neither a file nor one of {', '.join(NAMES)}")
        return scenario_from_toml(file.read_text())
    except ScenarioError as error:
        raise click.ClickException(f"{name}: {error}") from error


def _run(plan: Plan, workers: int, ray_address: str | None, told: Callable[[int], None]) -> Run:
    if ray_address is not None:
        from serving.ray_map import ray_map

        with ray_map(ray_address) as over:
            return simulate(plan, over, told)
    with process_pool(min(workers, plan.paths)) as over:
        return simulate(plan, over, told)


@contextmanager
def _progress(plan: Plan) -> Iterator[Callable[[int], None]]:
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(plan.scenario.name, total=plan.days * plan.paths)
        yield lambda days: progress.advance(task, days)


def _write(run: Run, out: Path) -> list[Path]:
    written = write_files(run, out)
    try:
        from ide.simulator.plots import plots
        from ide.simulator.report import write_report

        return [*written, *write_report(run, plots(run), out)]
    except ModuleNotFoundError as error:
        click.echo(f"No plots: {error.name} is not installed (pip install matplotlib)", err=True)
        sys.exit(1)


def _print(run: Run) -> None:
    plan = run.plan
    click.echo(f"{plan.scenario.name}: {plan.scenario.title}")
    rows = [[label, show(run.ide), show(run.legacy)] for label, show in _ROWS]
    title = f"{plan.days:,} days, {plan.paths:,} paths, seed {plan.seed}"
    echo_table(title, ["", "IDE ", "fixed schedule "], rows)


def _or_never(day: int | None) -> str:
    return "never" if day is None else f"day {day:,}"


_ROWS: tuple[tuple[str, Callable[[Summary], str]], ...] = (
    ("suppliers' income", lambda row: percent_text(row.supplier_income_change_ppm)),
    ("of it for availability", lambda row: percent_text(row.availability_income_change_ppm)),
    ("first warning", lambda row: _or_never(row.first_warning_day)),
    ("first proposal", lambda row: _or_never(row.first_proposal_day)),
    ("first shortfall", lambda row: _or_never(row.first_shortfall_day)),
    ("least psi", lambda row: ratio_text(row.psi_min_ppm)),
    (
        "least runway, months",
        lambda row: "" if row.runway_months_min is None else str(row.runway_months_min),
    ),
    ("burned", lambda row: io(row.burned_circulating_io // IO_UNIT * IO_UNIT)),
    ("retired", lambda row: io(row.retired_unemitted_io // IO_UNIT * IO_UNIT)),
    ("supply", lambda row: io(row.supply_io // IO_UNIT * IO_UNIT)),
)

"""`make bench` and `make endurance`: see README.md."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import click
import msgspec
import uvloop
from rich.console import Console
from rich.table import Table

from . import machine
from .chart import draw
from .endurance import (
    Finding,
    Tell,
    hung_node,
    idle_streams,
    many_requests,
    slow_readers,
)
from .figures import DIRECT
from .layers import measure
from .ledger import FULL, QUICK, Figure
from .ledger import measure as measure_books
from .overload import overload
from .peers import PEERS, find
from .pinned import ROOT
from .result import Run
from .route_pace import measure_choices
from .run import STEPS, Runner
from .screen import Status, Steps
from .settle_pace import FULL as CROWD
from .settle_pace import QUICK as SMALL_CROWD
from .settle_pace import measure_settling
from .stage import Cores
from .tables import show
from .verdicts import judge

NAMES = (DIRECT, *(peer.name for peer in PEERS))
SCENARIOS: dict[str, Callable[[Cores, Tell], list[Finding]]] = {
    "idle": partial(idle_streams, streams=2_000),
    "slow": partial(slow_readers, slow=200, normal=50, window_s=5),
    "hung": partial(hung_node, nodes=16, rate_per_s=200, window_s=6),
    "million": partial(many_requests, first=100_000, then=1_000_000),
}
WIDTH = 150
"""Of the tables where the output is not a terminal."""


class CompareByDefault(click.Group):
    """`make bench ARGS='--reps 1'` means `compare --reps 1`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or (args[0].startswith("-") and args[0] != "--help"):
            args = ["compare", *args]
        return super().parse_args(ctx, args)


@click.group(cls=CompareByDefault)
def main() -> None:
    """What this gateway costs, beside others. Without a command: compare."""
    if (os.cpu_count() or 1) < 2:
        raise click.ClickException("two cores are needed: one for the gateway, one for the load")
    machine.allow_many_files()


@main.command()
@click.option("--reps", default=3, show_default=True, help="Repeats, peers interleaved.")
@click.option("--secs", default=2.0, show_default=True, help="Length of each measure's window.")
@click.option("--only", help=f"Peers, by comma; of {', '.join(NAMES)}.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Raw results go here.")
@click.option("--chart", type=click.Path(path_type=Path), help="A picture (SVG) goes here.")
@click.option("--gateway-core", default=0, show_default=True)
@click.option("--load-core", default=1, show_default=True)
@click.option(
    "--venvs",
    type=click.Path(path_type=Path),
    default=ROOT / "build" / "bench",
    show_default="build/bench",
    help="Folder of virtual environments that hold peers which are not in the PATH.",
)
def compare(
    reps: int,
    secs: float,
    only: str | None,
    json_file: Path | None,
    chart: Path | None,
    gateway_core: int,
    load_core: int,
    venvs: Path,
) -> None:
    """Measure Tollgate and every peer that is installed, and judge Tollgate by its bars.

    Ends with 1 if a measure failed or the books are wrong.

    Example: make bench ARGS='--reps 1 --only direct,haproxy,tollgate'
    """
    wanted = _wanted(only)
    programs = {peer.name: find(peer, venvs) for peer in PEERS if peer.name in wanted}
    which = "" if only is None else f" --only {only}"
    run = Run(
        command=f"make bench ARGS='--reps {reps} --secs {secs:g}{which}'",
        date=datetime.now(UTC).date().isoformat(),
        machine=machine.describe(),
        commit=machine.commit(),
        missing={p.name: p.install for p in PEERS if p.name in wanted and not programs[p.name]},
    )
    order = [name for name in NAMES if name in wanted and name not in run.missing]
    peer_of = {peer.name: peer for peer in PEERS}
    os.sched_setaffinity(0, {load_core})
    with Steps(reps * len(order) * STEPS) as steps:
        runner = Runner(window_s=secs, gateway_core=gateway_core, load_core=load_core, tell=steps)
        for repeat in range(reps):
            for name in order:
                runner.measure(run, peer_of.get(name), programs.get(name), repeat)
    if json_file is not None:
        json_file.write_bytes(msgspec.json.format(msgspec.json.encode(run)))
    if chart is not None:
        chart.write_text(draw(run))
    show(run, judge(run), _console())
    if run.failures or any(audit.faults for audit in run.audits):
        sys.exit(1)


@main.command()
@click.argument("json_file", type=click.Path(exists=True, path_type=Path))
@click.option("--chart", type=click.Path(path_type=Path), help="A picture (SVG) goes here.")
def report(json_file: Path, chart: Path | None) -> None:
    """Show a run again that `--json` kept, or draw it."""
    run = msgspec.json.decode(json_file.read_bytes(), type=Run)
    if chart is not None:
        chart.write_text(draw(run))
    show(run, judge(run), _console())


@main.command()
@click.option("--only", help=f"Scenarios, by comma; of {', '.join(SCENARIOS)}.")
@click.option("--gateway-core", default=0, show_default=True)
@click.option("--load-core", default=1, show_default=True)
def endurance(only: str | None, gateway_core: int, load_core: int) -> None:
    """Memory over a million requests, silent streams, slow readers, a hung node. Ten minutes.

    Ends with 1 if a bar is missed.
    """
    cores = Cores(gateway=gateway_core, load=load_core)
    wanted = list(SCENARIOS) if only is None else only.split(",")
    if unknown := set(wanted) - set(SCENARIOS):
        raise click.BadParameter(f"{', '.join(unknown)}: known are {', '.join(SCENARIOS)}")
    os.sched_setaffinity(0, {load_core})
    missed = False
    for name in wanted:
        with Status(name) as status:
            findings = SCENARIOS[name](cores, status)
        missed |= _tell(name, findings)
    sys.exit(missed)


def _tell(name: str, findings: list[Finding]) -> bool:
    """Whether a bar is missed."""
    console = _console()
    for finding in findings:
        word = "[green]met[/]    " if finding.met else "[red]missed[/] "
        console.print(word, f"{name}: ", end="")
        console.print(finding.text, markup=False, highlight=False)
    return not all(finding.met for finding in findings)


@main.command("route")
@click.option("--nodes", default=(16, 64, 1_000, 10_000), multiple=True, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def route_command(nodes: tuple[int, ...], as_json: bool) -> None:
    """What it takes to choose a node, by policy and number of nodes. A minute.

    Example: make bench ARGS='route --nodes 64'
    """
    costs = [cost for count in nodes for cost in measure_choices(count)]
    if as_json:
        click.echo(msgspec.json.encode(costs))
        return
    table = Table("nodes", "policy", "choose us", "with start, first token, finish us")
    for cost in costs:
        table.add_row(str(cost.nodes), cost.policy, str(cost.choose_us), str(cost.whole_us))
    _console().print(table)


@main.command("overload")
@click.option("--capacity-each", default=4, show_default=True, help="Of each of 16 nodes.")
@click.option("--secs", default=10.0, show_default=True)
@click.option("--gateway-core", default=0, show_default=True)
@click.option("--load-core", default=1, show_default=True)
def overload_command(capacity_each: int, secs: float, gateway_core: int, load_core: int) -> None:
    """Ten times more streams than there is room: statuses, goodput, how fast a 429 is.

    Ends with 1 if a bar is missed. Half a minute.

    Example: make overload
    """
    cores = Cores(gateway=gateway_core, load=load_core)
    os.sched_setaffinity(0, {load_core})
    with Status("overload") as status:
        findings = overload(cores, status, capacity_each=capacity_each, window_s=secs)
    sys.exit(_tell("overload", findings))


@main.command()
@click.option("--quick", is_flag=True, help="Small books, seconds; the bars are shown, not judged.")
@click.option(
    "--folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="On the disk that is meant. 10 GB while it runs; a folder for temporary files else.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def ledger(quick: bool, folder: Path | None, as_json: bool) -> None:
    """The books: charges a second, durable posts, lag, questions at ten million transfers.

    Ends with 1 if a bar is missed. Ten minutes.

    Example: make ledger-bench ARGS=--quick
    """
    with Status("ledger") as status:
        figures = measure_books(QUICK if quick else FULL, folder, status)
    if as_json:
        click.echo(msgspec.json.encode(figures).decode())
    else:
        _show_figures(figures)
    sys.exit(not quick and not all(figure.met for figure in figures))


@main.command()
@click.option("--quick", is_flag=True, help="A small epoch, in seconds; its figures mean little.")
@click.option(
    "--folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Where the books are made.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def settle(quick: bool, folder: Path | None, as_json: bool) -> None:
    """One epoch of 100,000 suppliers and a million charges: time, memory, proof, replay."""
    with Status("settle") as status:
        figures = measure_settling(SMALL_CROWD if quick else CROWD, folder, status)
    if as_json:
        click.echo(msgspec.json.encode(figures).decode())
    else:
        _show_figures(figures, "settlement")
    sys.exit(not quick and not all(figure.met for figure in figures))


@main.command()
@click.option("--reps", default=3, show_default=True, help="Windows with a batch, and without.")
@click.option("--secs", default=15.0, show_default=True, help="Length of each window.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def batches(reps: int, secs: float, as_json: bool) -> None:
    """What live traffic feels of a batch: its p95 to the first token, beside one and without.

    Ends with 1 if it is more than 1.2 times as long. Two minutes.

    Example: make batch-bench ARGS='--reps 2'
    """
    from .batch_pace import figures, measure_pace  # here: it needs PYTHONPATH=tests

    with Status("batches") as status:
        found = figures(uvloop.run(measure_pace(reps, secs, status)))
    if as_json:
        click.echo(msgspec.json.encode(found).decode())
    else:
        _show_figures(found, "live traffic beside a batch")
    sys.exit(not all(figure.met for figure in found))


def _show_figures(figures: list[Figure], title: str = "the books") -> None:
    table = Table(title, "measured", "bar", "")
    for figure in figures:
        word = "[green]met[/]" if figure.met else "[red]missed[/]"
        table.add_row(figure.name, figure.value, figure.bar, word)
    _console().print(table)


@main.command()
@click.option("--calls", default=20_000, show_default=True, help="Of each function, five times.")
@click.option("--core", default=0, show_default=True)
def layers(calls: int, core: int) -> None:
    """Where the microseconds go: every layer's functions, called alone in one process."""
    os.sched_setaffinity(0, {core})
    with Status("timing"):
        found = uvloop.run(measure(calls))
    table = Table("layer", "CPU, µs", "of a")
    table.columns[1].justify = "right"
    for layer in sorted(found, key=lambda layer: layer.of, reverse=True):
        table.add_row(layer.name, f"{layer.microseconds:.2f}", layer.of)
    _console().print(table)


def _wanted(only: str | None) -> Sequence[str]:
    wanted = NAMES if only is None else tuple(only.split(","))
    if unknown := set(wanted) - set(NAMES):
        raise click.BadParameter(f"{', '.join(unknown)}: known are {', '.join(NAMES)}")
    return wanted


def _console() -> Console:
    console = Console()
    return console if console.is_terminal else Console(width=WIDTH)


if __name__ == "__main__":
    main(prog_name="make bench")

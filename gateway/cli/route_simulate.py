"""`tollgate route simulate`: policies compared over a trace, in worlds that a seed makes."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from gateway.cli.home import echo_json, echo_table, json_option
from router.simulator.bars import Bars, bars
from router.simulator.compare import Result, play
from router.simulator.contenders import BASELINES, CONTENDERS
from router.simulator.job import Job
from router.simulator.outcome import Figures
from router.simulator.scenario import SCENARIOS
from router.simulator.trace_file import TraceError, read_trace

_DEFAULT = ("oracle", "tollgate", *BASELINES)
_ALL = "all"


class Policies(click.ParamType[tuple[str, ...]]):
    name = "policies"

    def convert(
        self,
        value: str | tuple[str, ...],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> tuple[str, ...]:
        if isinstance(value, tuple):
            return value
        names = tuple(dict.fromkeys(name.strip() for name in value.split(",")))
        for name in names:
            if name not in CONTENDERS:
                self.fail(f"'{name}' is none of {', '.join(CONTENDERS)}", param, ctx)
        return names


@click.command()
@click.option(
    "--trace",
    type=click.Path(dir_okay=False, exists=True, path_type=Path),
    required=True,
    help="Azure's CSV or Mooncake's JSON lines.",
)
@click.option(
    "--scenario",
    "scenario_names",
    type=click.Choice([*SCENARIOS, _ALL]),
    multiple=True,
    default=("steady",),
    show_default=True,
    help="May be given more than once.",
)
@click.option(
    "--policies",
    type=Policies(),
    default=_DEFAULT,
    help=f"Of {', '.join(CONTENDERS)}, with commas; all but the last two if not given.",
)
@click.option("--seeds", type=click.IntRange(min=1), default=5, show_default=True)
@click.option("--requests", type=click.IntRange(min=10), default=2000, show_default=True)
@click.option("--nodes", type=click.IntRange(min=1), default=16, show_default=True)
@click.option(
    "--plots",
    type=click.Path(file_okay=False, path_type=Path),
    help="Draw TTFT, load and cache hits of the first seed into this folder. Needs matplotlib.",
)
@json_option
def simulate(
    trace: Path,
    scenario_names: tuple[str, ...],
    policies: tuple[str, ...],
    seeds: int,
    requests: int,
    nodes: int,
    plots: Path | None,
    as_json: bool,
) -> None:
    """Play a trace against policies, the gateway's own among them, in the same seeded worlds.

    With --json, one object a line, for each policy and seed; times are in ms. docs/routing.md says
    what the worlds are made of.

    \b
    Example: tollgate route simulate --trace azure.csv --scenario wan --seeds 5 --json
    """
    try:
        jobs = read_trace(trace)
    except (TraceError, OSError, UnicodeDecodeError) as error:
        raise click.ClickException(str(error)) from error
    names = list(SCENARIOS) if _ALL in scenario_names else list(dict.fromkeys(scenario_names))
    measured: list[Figures] = []
    for name in names:
        results = _play(name, jobs, policies, seeds, requests, nodes)
        measured += [result.figures for result in results]
        if plots is not None:
            _draw(plots, name, [each for each in results if each.figures.seed == 0])
    if as_json:
        for each in measured:
            echo_json(each)
        return
    _show(measured, policies)


def _play(
    name: str, jobs: list[Job], policies: tuple[str, ...], seeds: int, requests: int, nodes: int
) -> list[Result]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    results = []
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(name, total=len(policies) * seeds * requests)
        ended = 0
        for policy in policies:
            for seed in range(seeds):
                progress.update(task, description=f"{name}: {policy}, seed {seed}")
                result = play(
                    policy,
                    SCENARIOS[name],
                    jobs,
                    seed=seed,
                    requests=requests,
                    nodes=nodes,
                    done=lambda count, before=ended: progress.update(  # type: ignore[misc]
                        task, completed=before + count
                    ),
                )
                results.append(result)
                ended += requests
                progress.update(task, completed=ended)
    return results


def _draw(folder: Path, scenario: str, results: list[Result]) -> None:
    try:
        from gateway.cli.route_plots import draw
    except ModuleNotFoundError as error:
        raise click.ClickException(
            f"{error.name} is needed for plots: pip install matplotlib"
        ) from error
    folder.mkdir(parents=True, exist_ok=True)
    draw(folder, scenario, results)


def _show(measured: list[Figures], policies: tuple[str, ...]) -> None:
    for scenario in dict.fromkeys(each.scenario for each in measured):
        rows = []
        for policy in policies:
            told = [e for e in measured if (e.scenario, e.policy) == (scenario, policy)]
            rows.append(_row(policy, told))
        about = SCENARIOS[scenario].about
        echo_table(f"{scenario}: {about}; mean of {len(told)} seeds", _COLUMNS, rows)
    held = bars(measured)
    if held:
        echo_table("Against the bars, p99 of the first token", _BAR_COLUMNS, list(map(_bar, held)))


_COLUMNS = [
    "policy",
    "ttft p50 ms ",
    "p99 ms ",
    "e2e p50 ms ",
    "p99 ms ",
    "good/s ",
    "hits ",
    "failed ",
    "refused ",
    "least load ",
    "most ",
]


def _row(policy: str, told: list[Figures]) -> list[str]:
    def mean(field: str, digits: int = 0) -> str:
        return f"{sum(getattr(each, field) for each in told) / len(told):,.{digits}f}"

    return [
        policy,
        mean("ttft_p50_ms"),
        mean("ttft_p99_ms"),
        mean("e2e_p50_ms"),
        mean("e2e_p99_ms"),
        mean("goodput_rps", 2),
        mean("prefix_hit_ratio", 3),
        mean("failed", 1),
        mean("refused", 1),
        mean("load_min", 2),
        mean("load_max", 2),
    ]


_BAR_COLUMNS = [
    "scenario",
    "oracle ms ",
    "tollgate ms ",
    "ratio ",
    "best baseline",
    "ms ",
    "ratio ",
    "goodput to oracle ",
    "hits to infinite ",
    "load ",
    "missed",
]


def _bar(each: Bars) -> list[str]:
    hits = each.hits_to_infinite
    return [
        each.scenario,
        f"{each.oracle_ms:,.0f}",
        f"{each.ours_ms:,.0f}",
        f"{each.to_oracle:.2f}",
        each.baseline,
        f"{each.baseline_ms:,.0f}",
        f"{each.to_baseline:.2f}",
        f"{each.goodput_to_oracle:.2f}",
        "" if hits is None else f"{hits:.2f}",
        f"{each.load_min:.2f}-{each.load_max:.2f}",
        ", ".join(each.missed()) or "none",
    ]

"""Many paths through one scenario, over worker processes or whatever maps for the caller. Edge."""

from __future__ import annotations

import hashlib
import multiprocessing
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from random import Random

import msgspec

from ide.params import DAY_S
from ide.simulator.path import Path, Progress, run_path
from ide.simulator.scenario import Scenario
from ide.simulator.summary import Spread, Summary, spread, summarize_ide, summarize_legacy

FAN_POINTS = 60
"""Points in time at which a Monte Carlo keeps each path's figures."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What to run."""

    scenario: Scenario
    days: int
    epoch_s: int
    seed: int
    paths: int

    def __post_init__(self) -> None:
        if DAY_S % self.epoch_s or self.days < 1 or self.paths < 1:
            raise ValueError("an epoch divides a day, and there is at least one day and one path")


class FanPoint(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One path at one moment: what a fan of paths is drawn from."""

    day: int
    price_nano_usd: int
    income_nano_usd: int
    fee_vault_nano_usd: int
    psi_ppm: int
    burned_io: int


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What one worker sends back of one path."""

    ide: Summary
    legacy: Summary
    fan: tuple[FanPoint, ...]


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """All of a run: the first path whole, a summary of every one. `hashes_sha256` is over the
    state hashes of all paths."""

    plan: Plan
    central: Path
    ide: Summary
    legacy: Summary
    outcomes: tuple[Outcome, ...]
    ide_spread: dict[str, Spread]
    legacy_spread: dict[str, Spread]
    hashes_sha256: str


Job = tuple[Plan, int]
Map = Callable[[Callable[[Job], Outcome], list[Job]], Iterable[Outcome]]
"""Calls a function of this module for each job and gives the answers, in order."""


def simulate(plan: Plan, over: Map, progress: Progress | None = None) -> Run:
    """Run all paths; `progress` is told of days done. The same plan gives the same run."""
    central = play(plan, 0, progress)
    outcomes = [_outcome(central, plan)]
    for outcome in over(one_path, [(plan, path) for path in range(1, plan.paths)]):
        outcomes.append(outcome)
        if progress:
            progress(plan.days)
    hashes = "".join(row.ide.state_hash + row.legacy.state_hash for row in outcomes)
    return Run(
        plan=plan,
        central=central,
        ide=outcomes[0].ide,
        legacy=outcomes[0].legacy,
        outcomes=tuple(outcomes),
        ide_spread=spread([row.ide for row in outcomes]),
        legacy_spread=spread([row.legacy for row in outcomes]),
        hashes_sha256=hashlib.sha256(hashes.encode()).hexdigest(),
    )


def one_path(job: Job) -> Outcome:
    """One path, in whatever process."""
    plan, path = job
    return _outcome(play(plan, path), plan)


def play(plan: Plan, path: int, progress: Progress | None = None) -> Path:
    """One path whole. Path 0 follows the scenario; the others walk at random around it."""
    return run_path(
        plan.scenario,
        days=plan.days,
        epoch_s=plan.epoch_s,
        rng=Random(f"{plan.seed}/{path}"),
        central=path == 0,
        progress=progress,
    )


@contextmanager
def process_pool(workers: int) -> Iterator[Map]:
    """A map over that many processes of this machine; for one, this process itself."""
    if workers == 1:
        yield map
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        yield pool.map


def _outcome(path: Path, plan: Plan) -> Outcome:
    every = max(1, len(path.ide) // FAN_POINTS)
    fan = tuple(
        FanPoint(
            day=number,
            price_nano_usd=day.price_nano_usd or 0,
            income_nano_usd=day.income_nano_usd,
            fee_vault_nano_usd=day.fee_vault_nano_usd,
            psi_ppm=day.psi_smoothed_ppm or 0,
            burned_io=day.burned_io,
        )
        for number, day in enumerate(path.ide)
        if number % every == 0
    )
    return Outcome(
        ide=summarize_ide(path, plan.scenario),
        legacy=summarize_legacy(path, plan.scenario),
        fan=fan,
    )

"""Many seeds, one after the other; what came of them, as text."""

from __future__ import annotations

import sqlite3
import time
import traceback
from collections.abc import Callable, Iterator

import msgspec

from metering.ledger import LedgerError
from metering.poster import _RefusedError
from metering.spool_file import SpoolError

from .play import Played, player

FAILURES_MAX = 10
"""After so many a run ends: one cause makes many of them."""
PROGRESS_S = 1.0

FAULTS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LedgerError,
    LookupError,
    OSError,
    RuntimeError,
    SpoolError,
    TypeError,
    ValueError,
    _RefusedError,
    sqlite3.Error,
)
"""What a world raises that is not as it should be."""


class Failure(msgspec.Struct):
    seed: int
    sweep: bool
    what: str

    @property
    def replay(self) -> str:
        how = "--seeds 0 --sweeps 1" if self.sweep else "--seeds 1 --sweeps 0"
        return f"make sim ARGS='{how} --from {self.seed}'"


class Report(msgspec.Struct):
    played: Played = msgspec.field(default_factory=Played)
    seeds: int = 0
    sweeps: int = 0
    seconds: float = 0.0
    failures: list[Failure] = []


def run(
    first_seed: int,
    seeds: int,
    sweeps: int,
    tell: Callable[[Report], None] = lambda report: None,
) -> Report:
    """Seeds from the first on, and the first few of them as sweeps."""
    report, began_s, told_s = Report(), time.monotonic(), 0.0
    with player() as one:
        work = [(seed, True) for seed in range(first_seed, first_seed + sweeps)]
        work += [(seed, False) for seed in range(first_seed, first_seed + seeds)]
        for seed, sweep in work:
            try:
                for played in one.sweep(seed) if sweep else [one.play(seed)]:
                    report.played.add(played)
                    report.seconds = time.monotonic() - began_s
                    if report.seconds - told_s > PROGRESS_S:
                        told_s = report.seconds
                        tell(report)
            except FAULTS as fault:
                trace = "".join(traceback.format_exception(fault))
                report.failures.append(Failure(seed, sweep, trace))
            report.sweeps += sweep
            report.seeds += not sweep
            if len(report.failures) >= FAILURES_MAX:
                break
    return report


def lines(report: Report) -> Iterator[str]:
    """A report as text."""
    played = report.played
    rate = played.worlds / report.seconds if report.seconds else 0.0
    yield (
        f"{report.seeds} seeds and {report.sweeps} sweeps: {played.worlds} worlds in "
        f"{report.seconds:.0f} s ({rate:.0f}/s), {len(report.failures)} failed"
    )
    yield (
        f"{played.lives} lives, {played.deaths} deaths, {played.power_cuts} power cuts, "
        f"{played.hiccups} steps of the ledger that failed while the gateway lived on"
    )
    yield f"{len(played.killed_at)} kill points (phase: file step, how far it got):"
    for point, count in sorted(played.killed_at.items()):
        yield f"  {count:>8}  {point}"
    yield f"{played.replies.total()} answers predicted:"
    for reply, count in sorted(played.replies.items()):
        yield f"  {count:>8}  {reply}"
    yield f"{len(played.states)} states reached:"
    yield from (f"            {state}" for state in sorted(played.states))
    for failure in report.failures:
        yield f"seed {failure.seed}: {failure.what}"
        yield f"again: {failure.replay}"

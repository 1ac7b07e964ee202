"""Many inputs of one side, one after the other."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterator

import msgspec

from .one import SIDES, play
from .script import Script
from .shrink import shrink
from .world import World, world

FAILURES_MAX = 10
"""After so many a run ends: one cause makes many of them."""


class Failure(msgspec.Struct):
    seed: int
    faults: list[str]
    script: Script
    """Shrunk."""


class Report(msgspec.Struct):
    side: str
    inputs: int = 0
    seconds: float = 0.0
    outcomes: Counter[str] = msgspec.field(default_factory=Counter)
    failures: list[Failure] = []

    @property
    def inputs_per_s(self) -> float:
        return self.inputs / self.seconds if self.seconds else 0.0


class Worlds:
    """A world that can be trusted: after a fault, or on a disk that failed, a new one."""

    def __init__(self) -> None:
        self._open = contextlib.ExitStack()
        self._world: World | None = None

    def __enter__(self) -> Worlds:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def play(self, script: Script) -> tuple[list[str], Counter[str]]:
        """What is wrong, and how requests and charges ended."""
        if self._world is None:
            self._world = self._open.enter_context(world())
        found = play(self._world, script)
        if found.faults or not script.durability.lasts:
            self._open.close()
            self._world = None
        return found.faults, found.outcomes


def run(
    side: str,
    *,
    first_seed: int = 0,
    inputs: int,
    until_s: float | None = None,
    tell: Callable[[Report], None] = lambda report: None,
) -> Report:
    """Seeds from `first_seed` on; `until_s` is a time of `time.monotonic` to stop at."""
    report = Report(side)
    began_s = time.monotonic()
    with Worlds() as worlds:
        for seed in range(first_seed, first_seed + inputs):
            script = SIDES[side](seed)
            faults, outcomes = worlds.play(script)
            report.inputs += 1
            report.outcomes += outcomes
            report.seconds = time.monotonic() - began_s
            if faults:
                smallest = shrink(script, lambda each: worlds.play(each)[0])
                report.failures.append(Failure(seed, faults, smallest))
            if report.inputs % 500 == 0:
                tell(report)
            late = until_s is not None and time.monotonic() > until_s
            if late or len(report.failures) >= FAILURES_MAX:
                break
    return report


def lines(report: Report) -> Iterator[str]:
    """A report as text."""
    yield (
        f"{report.side}: {report.inputs} inputs in {report.seconds:.0f} s "
        f"({report.inputs_per_s:.0f}/s), {len(report.failures)} failed"
    )
    for outcome, count in sorted(report.outcomes.items()):
        yield f"  {count:>8}  {outcome}"
    for failure in report.failures:
        yield f"seed {failure.seed}:"
        yield from (f"  {fault[-2000:]}" for fault in failure.faults)
        yield f"  shrunk: {failure.script}"

"""What a run found, as `--json` writes it. Records only."""

from __future__ import annotations

import msgspec

from .books import Books
from .job import Counted, Report
from .mock_node import Tally


class Measure(msgspec.Struct, frozen=True, kw_only=True):
    """One job against one peer, once."""

    peer: str
    repeat: int
    name: str
    """A key of `plan.JOBS`."""
    report: Report
    all_cpu_s: float | None
    """CPU of the gateway from before the job until it was idle again: with what it put off."""


class Start(msgspec.Struct, frozen=True, kw_only=True):
    """A gateway that has answered one request."""

    peer: str
    repeat: int
    start_s: float
    rss_mib: float


class Audit(msgspec.Struct, frozen=True, kw_only=True):
    """The books of one gateway when it had ended, and what is wrong with them."""

    peer: str
    repeat: int
    books: Books
    counted: Counted
    tally: Tally
    faults: list[str]


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    peer: str
    repeat: int
    why: str


class Run(msgspec.Struct, kw_only=True):
    command: str
    date: str
    machine: str
    commit: str
    measures: list[Measure] = []
    starts: list[Start] = []
    audits: list[Audit] = []
    failures: list[Failure] = []
    missing: dict[str, str] = {}
    """Peers that are not installed, and what would install them."""

    @property
    def peers(self) -> list[str]:
        """Those that were measured, in order."""
        return list(dict.fromkeys(measure.peer for measure in self.measures))

    def reports(self, peer: str, name: str) -> list[Report]:
        return [m.report for m in self.measures if m.peer == peer and m.name == name]

"""DIR/metrics: each worker's report, written by it and read by whoever is asked for metrics."""

from __future__ import annotations

import os

import msgspec

from gateway.home import Home
from gateway.scorecard.card import Cards
from gateway.telemetry.counts import Counts
from gateway.telemetry.reports import Report

encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Report).decode


class ReportFiles:
    """Of one run of `workers` processes. A crash of the machine may lose them: they hold no money,
    and after it the run is another.
    """

    def __init__(self, home: Home, *, run: str, worker: int, workers: int) -> None:
        self.run = run
        self.worker = worker
        self._path = home.metrics_file(worker)
        self._all = [home.metrics_file(other) for other in range(workers)]

    def former_counts(self) -> Counts:
        """What this worker's predecessor in the run had counted."""
        former = self._former()
        return former.counts if former else Counts()

    def former_cards(self) -> Cards:
        """And what it knew for the scorecard."""
        former = self._former()
        return former.cards if former else {}

    def _former(self) -> Report | None:
        former = [report for report in self.read() if report.worker == self.worker]
        return former[0] if former else None

    def write(self, encoded: bytes) -> None:
        self._path.parent.mkdir(exist_ok=True)
        draft = self._path.with_suffix(".draft")
        draft.write_bytes(encoded)
        draft.replace(self._path)

    def read(self) -> list[Report]:
        """The newest report of every worker that has made one."""
        reports = []
        for path in self._all:
            try:
                report = _decode(path.read_bytes())
            except (FileNotFoundError, msgspec.MsgspecError):
                continue  # none yet, or by another version of Tollgate
            if report.run == self.run:
                reports.append(report if _lives(report.pid) else report.after_death())
        return reports


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True

"""How long suppliers' GPUs were verified to serve, until epochs have paid for it.

Kept in periods that are numbered, not timed: no clock is asked what belongs to an epoch. Time is
added to the open period alone; an epoch ends it and takes all that ended since the last epoch.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from metering.database import Database, Session
from metering.lease import keep


class GpuTime(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds times GPUs, of one supplier and class."""

    supplier_id: str
    gpu_class: str
    gpu_s: int


class GpuTimeStore:
    """Thread-safe. Raises LedgerError when the database cannot answer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, writer: str, batch: int, rows: Iterable[GpuTime], *, lease: str) -> bool:
        """Count a batch in the open period, all or nothing; False if it was counted before. A
        supplier and class come once in it.

        A writer's batches rise: `next_batch` is the first that was not counted. Raises
        LeaseLostError if another holds the lease under which they are counted.
        """
        with self._database.transaction() as session:
            keep(session, lease, writer)
            new = session.query(
                "INSERT INTO gpu_time_batch (writer, batch) VALUES (?, ?) ON CONFLICT (writer)"
                " DO UPDATE SET batch = excluded.batch WHERE gpu_time_batch.batch < excluded.batch"
                " RETURNING batch",
                writer,
                batch,
            )
            if not new:
                return False
            period = _open_period(session)
            session.insert(
                "gpu_time",
                4,
                [value for row in rows for value in (period, *msgspec.structs.astuple(row))],
                "ON CONFLICT (period, supplier_id, gpu_class)"
                " DO UPDATE SET gpu_s = gpu_time.gpu_s + excluded.gpu_s",
            )
        return True

    def next_batch(self, writer: str) -> int:
        rows = self._database.query("SELECT batch FROM gpu_time_batch WHERE writer = ?", writer)
        return rows[0][0] + 1 if rows else 1

    def end_period(self) -> int:
        """End the open one, unless nothing is in it. Returns the last that has ended."""
        with self._database.transaction() as session:
            period = _open_period(session)
            if not session.query("SELECT 1 FROM gpu_time WHERE period = ? LIMIT 1", period):
                return period - 1
            session.query("UPDATE gpu_time_period SET period = ?", period + 1)
        return period

    def over(self, after: int, to: int = 2**63 - 1) -> tuple[GpuTime, ...]:
        """Sums over the periods (after, to], ordered by supplier and class. To the end, the open
        one is included.
        """
        rows = self._database.query(
            "SELECT supplier_id, gpu_class, CAST(sum(gpu_s) AS BIGINT) FROM gpu_time"
            " WHERE period > ? AND period <= ? GROUP BY supplier_id, gpu_class"
            " ORDER BY supplier_id, gpu_class",
            after,
            to,
        )
        return tuple(GpuTime(supplier_id=row[0], gpu_class=row[1], gpu_s=row[2]) for row in rows)


def _open_period(session: Session) -> int:
    period: int = session.query("SELECT period FROM gpu_time_period")[0][0]
    return period

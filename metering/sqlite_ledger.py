"""The ledger in one SQLite file, which several processes on this machine may hold at once."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from metering.ledger import OnProgress, Verification
from metering.sql_ledger import SqlLedger
from metering.sqlite_database import SqliteDatabase, sqlite_snapshot
from metering.verify import verify


class SqliteLedger(SqlLedger):
    """A `Ledger`. One connection writes, another reads.

    Raises LedgerError if the file cannot be opened, or was made by a newer version.
    """

    def __init__(self, path: Path, clock_ns: Callable[[], int] = time.time_ns) -> None:
        self.path = path
        self._file = SqliteDatabase(path)
        super().__init__(self._file, SqliteDatabase(path), clock_ns)

    def verify(self, on_progress: OnProgress | None = None) -> Verification:
        with sqlite_snapshot(self.path) as snapshot:
            return verify(snapshot, on_progress)

    def data_version(self) -> int:
        version: int = self._file.query("PRAGMA data_version")[0][0]
        return version

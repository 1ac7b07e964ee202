"""The ledger in PostgreSQL, which gateways on several machines may hold at once."""

from __future__ import annotations

import time
from collections.abc import Callable

from metering.ledger import OnProgress, Verification
from metering.postgres_database import PostgresDatabase, postgres_snapshot
from metering.sql_ledger import SqlLedger
from metering.verify import verify


class PostgresLedger(SqlLedger):
    """A `Ledger`. One connection writes, another reads; either is made anew when the server was
    gone.

    Raises LedgerError if it cannot be reached, or was made by a newer version.
    """

    def __init__(self, url: str, clock_ns: Callable[[], int] = time.time_ns) -> None:
        self._url = url
        self._server = PostgresDatabase(url)
        try:
            super().__init__(self._server, PostgresDatabase(url), clock_ns)
        except BaseException:
            self._server.close()
            raise

    def verify(self, on_progress: OnProgress | None = None) -> Verification:
        with postgres_snapshot(self._url) as snapshot:
            return verify(snapshot, on_progress)

    def data_version(self) -> int:
        return self._server.changes_of_others()

"""A `Database` in PostgreSQL, the ledger's."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from metering.database import Rows, Session
from metering.postgres_link import Connection, PostgresLink, numbered


class PostgresDatabase:
    """One connection, made anew when the server was gone. Raises LedgerError if it is now."""

    def __init__(self, url: str) -> None:
        self._lock = threading.Lock()
        self._link = PostgresLink(url)

    @property
    def name(self) -> str:
        return self._link.name

    def query(self, sql: str, *values: object) -> Rows:
        if not sql.startswith("SELECT"):
            with self.transaction() as session:
                return session.query(sql, *values)
        with self._lock, self._link.connected() as connection:
            return _PostgresSession(connection).query(sql, *values)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Session]:
        with self._lock, self._link.transaction() as connection:
            yield _PostgresSession(connection)

    def close(self) -> None:
        """Waits for what is under way."""
        with self._lock:
            self._link.close()


class _PostgresSession:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def query(self, sql: str, *values: object) -> Rows:
        cursor = self._connection.execute(numbered(sql), values)
        return [] if cursor.description is None else cursor.fetchall()

"""A `Database` in PostgreSQL, the ledger's."""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Iterator, Sequence
from itertools import count
from typing import Any

import psycopg

from metering.database import Rows, Session, chunks
from metering.ledger import DamagedError
from metering.postgres_link import Connection, PostgresLink, numbered

_PARAMETERS_MAX = 20_000
"""In one statement; PostgreSQL takes 65,535."""

_FETCH_ROWS = 5000


class PostgresDatabase:
    """One connection, made anew when the server was gone. Raises LedgerError if it is now."""

    def __init__(self, url: str) -> None:
        self._lock = threading.Lock()
        self._link = PostgresLink(url)
        self.listed = _PostgresSession.listed

    @property
    def name(self) -> str:
        return self._link.name

    def query(self, sql: str, *values: object) -> Rows:
        if not sql.startswith("SELECT"):
            with self.transaction() as session:
                return session.query(sql, *values)
        return self.note(sql, *values)

    def note(self, sql: str, *values: object) -> Rows:
        with self._lock, self._link.connected() as connection:
            return _PostgresSession(connection).query(sql, *values)

    def insert(
        self, table: str, columns: int, values: Sequence[object], on_conflict: str = ""
    ) -> None:
        with self.transaction() as session:
            session.insert(table, columns, values, on_conflict)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Session]:
        with self._lock, self._link.transaction() as connection:
            yield _PostgresSession(connection)

    def changes_of_others(self) -> int:
        """A number that rises with every transaction but this object's own."""
        with self._lock, self._link.connected() as connection:
            rows = _PostgresSession(connection).query("SELECT version FROM ledger_change")
            return int(rows[0][0]) - self._link.transactions

    def close(self) -> None:
        """Waits for what is under way."""
        with self._lock:
            self._link.close()


class _PostgresSession:
    listed = "(SELECT json_array_elements_text(CAST(? AS json)))"

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def query(self, sql: str, *values: object) -> Rows:
        cursor = self._connection.execute(numbered(sql), values)
        return [] if cursor.description is None else cursor.fetchall()

    def insert(
        self, table: str, columns: int, values: Sequence[object], on_conflict: str = ""
    ) -> None:
        if on_conflict:
            for places, chunk in chunks(columns, values, _PARAMETERS_MAX):
                self.query(f"INSERT INTO {table} VALUES {places}{on_conflict}", *chunk)
        elif values:
            with self._connection.cursor().copy(f"COPY {table} FROM STDIN") as copy:
                for row in range(0, len(values), columns):
                    copy.write_row(values[row : row + columns])


@contextlib.contextmanager
def postgres_snapshot(url: str) -> Iterator[PostgresSnapshot]:
    """Raises LedgerError."""
    link = PostgresLink(url, answer_s=math.inf)  # one answer after another, however many
    with contextlib.closing(link), link.connected() as connection, connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield PostgresSnapshot(connection)


class PostgresSnapshot:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._names = count()

    def rows(self, sql: str) -> Iterator[tuple[Any, ...]]:
        name = f"rows_{next(self._names)}"
        try:
            with psycopg.RawServerCursor(self._connection, name) as cursor:
                cursor.itersize = _FETCH_ROWS
                cursor.execute(sql)
                yield from cursor
        except (psycopg.DataError, psycopg.InternalError) as error:
            raise DamagedError(f"the database is damaged: {error}") from error

    def check(self) -> None:
        """The server finds damaged pages by their checksums, where it was set up with them."""

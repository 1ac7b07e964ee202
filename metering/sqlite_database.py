"""A `Database` in a SQLite file, the ledger's."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from metering.database import Rows, Session
from metering.ledger import DamagedError
from metering.sqlite_file import insert_rows, named_errors, open_file, transaction


class SqliteDatabase:
    """One connection. Raises LedgerError if the file cannot be opened."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._db = open_file(path)
        self._session = _SqliteSession(self._db)
        self.listed = self._session.listed

    @property
    def name(self) -> str:
        return str(self._path)

    def query(self, sql: str, *values: object) -> Rows:
        with self._lock, named_errors(self._path):
            return self._session.query(sql, *values)

    def note(self, sql: str, *values: object) -> Rows:
        """SQLite has one writer at a time and tells of every change: this is a statement as any."""
        return self.query(sql, *values)

    def insert(
        self, table: str, columns: int, values: Sequence[object], on_conflict: str = ""
    ) -> None:
        with self.transaction() as session:
            session.insert(table, columns, values, on_conflict)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Session]:
        with self._lock, named_errors(self._path), transaction(self._db):
            yield self._session

    def close(self) -> None:
        """Waits for what is under way."""
        with self._lock:
            self._db.close()


class _SqliteSession:
    listed = "(SELECT value FROM json_each(?))"

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def query(self, sql: str, *values: object) -> Rows:
        return self._db.execute(sql, values).fetchall()

    def insert(
        self, table: str, columns: int, values: Sequence[object], on_conflict: str = ""
    ) -> None:
        insert_rows(self._db, table, columns, values, on_conflict)


@contextlib.contextmanager
def sqlite_snapshot(path: Path) -> Iterator[SqliteSnapshot]:
    """Raises LedgerError."""
    with named_errors(path), contextlib.closing(open_file(path)) as db:
        db.execute("BEGIN")
        yield SqliteSnapshot(db)


class SqliteSnapshot:
    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def rows(self, sql: str) -> Iterator[tuple[Any, ...]]:
        with _damage():
            yield from self._db.execute(sql)

    def check(self) -> None:
        with _damage():
            found = self._db.execute("PRAGMA integrity_check(1)").fetchone()[0]
        if found != "ok":
            raise DamagedError(f"the file is damaged: {found}")


@contextlib.contextmanager
def _damage() -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError:
        raise
    except sqlite3.DatabaseError as error:
        raise DamagedError(f"the file is damaged: {error}") from error

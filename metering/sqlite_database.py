"""A `Database` in a SQLite file, the ledger's."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

from metering.database import Rows, Session
from metering.sqlite_file import named_errors, open_file, transaction


class SqliteDatabase:
    """One connection. Raises LedgerError if the file cannot be opened."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._db = open_file(path)

    @property
    def name(self) -> str:
        return str(self._path)

    def query(self, sql: str, *values: object) -> Rows:
        with self._lock, named_errors(self._path):
            return self._db.execute(sql, values).fetchall()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Session]:
        with self._lock, named_errors(self._path), transaction(self._db):
            yield _SqliteSession(self._db)

    def close(self) -> None:
        """Waits for what is under way."""
        with self._lock:
            self._db.close()


class _SqliteSession:
    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def query(self, sql: str, *values: object) -> Rows:
        return self._db.execute(sql, values).fetchall()

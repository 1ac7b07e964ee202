"""The register of gateways in the ledger's file: whose spools may hold charges that are not booked.

A gateway that dies stays on it, until its spool is recovered and booked.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from pathlib import Path

from metering.sqlite_file import named_errors, open_database


class SqliteRegister:
    """Thread-safe. Raises LedgerError when the file cannot answer."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._db = open_database(path)

    def enter(self, writer: str) -> None:
        """Before the first charge. Entering again changes nothing."""
        self._execute(
            "INSERT OR IGNORE INTO gateway_register VALUES (?, ?)", writer, time.time_ns()
        )

    def leave(self, writer: str) -> None:
        """After the last charge is booked."""
        self._execute("DELETE FROM gateway_register WHERE writer = ?", writer)

    def writers(self) -> list[str]:
        return [row[0] for row in self._execute("SELECT writer FROM gateway_register")]

    def ledger_name(self) -> str:
        """Random, made with the ledger."""
        name: str = self._execute("SELECT name FROM ledger_name")[0][0]
        return name

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def _execute(self, statement: str, *values: object) -> list[sqlite3.Row]:
        with self._lock, named_errors(self._path):
            return self._db.execute(statement, values).fetchall()

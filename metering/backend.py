"""Opens the ledger and its database: a path is a SQLite file, a URL is PostgreSQL."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from metering.database import Database, Snapshot
from metering.ledger import Ledger, LedgerError
from metering.sqlite_database import SqliteDatabase, sqlite_snapshot
from metering.sqlite_ledger import SqliteLedger


def open_database(where: Path | str) -> Database:
    """Raises LedgerError."""
    if isinstance(where, Path):
        return SqliteDatabase(where)
    _check_psycopg()
    from metering.postgres_database import PostgresDatabase  # here: only few have psycopg

    return PostgresDatabase(where)


def open_snapshot(where: Path | str) -> AbstractContextManager[Snapshot]:
    """Raises LedgerError, when it is entered too."""
    if isinstance(where, Path):
        return sqlite_snapshot(where)
    _check_psycopg()
    from metering.postgres_database import postgres_snapshot  # here: only few have psycopg

    return postgres_snapshot(where)


def open_ledger(where: Path | str, clock_ns: Callable[[], int] = time.time_ns) -> Ledger:
    """Raises LedgerError."""
    if isinstance(where, Path):
        return SqliteLedger(where, clock_ns)
    _check_psycopg()
    from metering.postgres_ledger import PostgresLedger  # here: only few have psycopg

    return PostgresLedger(where, clock_ns)


def _check_psycopg() -> None:
    try:
        import psycopg  # noqa: F401
    except ImportError as error:
        raise LedgerError(
            "a ledger in PostgreSQL needs psycopg, which is not installed: "
            "pip install 'psycopg[binary]'"
        ) from error

"""Opens the ledger's database, wherever it is: a path is a SQLite file, a URL is PostgreSQL."""

from __future__ import annotations

from pathlib import Path

from metering.database import Database
from metering.ledger import LedgerError
from metering.sqlite_database import SqliteDatabase


def open_database(where: Path | str) -> Database:
    """Raises LedgerError."""
    if isinstance(where, Path):
        return SqliteDatabase(where)
    _check_psycopg()
    from metering.postgres_database import PostgresDatabase  # here: only few have psycopg

    return PostgresDatabase(where)


def _check_psycopg() -> None:
    try:
        import psycopg  # noqa: F401
    except ImportError as error:
        raise LedgerError(
            "a ledger in PostgreSQL needs psycopg, which is not installed: "
            "pip install 'tollgate[postgres]'"
        ) from error

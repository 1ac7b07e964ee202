"""A SQLite file that keeps money: durable settings, migrations, transactions."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

from metering.database import chunks
from metering.ledger import ConflictError, LedgerError

BUSY_TIMEOUT_S = 10.0
"""How long one process waits for another's transaction: they take milliseconds."""

MIGRATIONS = Path(__file__).parent / "migrations" / "sqlite"

_CHECKPOINT_PAGES = 4000
"""16 MiB: a page that many batches change is copied once for all of them."""

sqlite3.register_adapter(type(None), dict[None, None]().get)
"""sqlite3 asks a None for 1.3 us whether it wants to be something else; this answer takes 0.5."""

_PARAMETERS_MAX = 2000
"""In one statement; SQLite takes 32,766, but a statement that long is slow to prepare."""


def open_file(path: Path) -> sqlite3.Connection:
    """A connection in autocommit mode whose commits survive a power cut, with the schema up to
    date. Raises LedgerError.
    """
    if not os.access(path.parent, os.W_OK):
        raise LedgerError(
            f"ledger {path}: {path.parent} cannot be written: it is missing, read-only or another "
            "user's. Mount it for writing, or name another folder"
        )
    with named_errors(path):
        db = connect(path)
        try:
            _migrate(db, path)
            _make_durable(db)
        except BaseException:
            db.close()
            raise
        return db


def connect(path: Path) -> sqlite3.Connection:
    """Raises sqlite3.Error."""
    db = sqlite3.connect(
        path,
        timeout=BUSY_TIMEOUT_S,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=256,
    )
    try:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
    except BaseException:
        db.close()
        raise
    return db


def schema_versions(path: Path) -> tuple[int, int]:
    """How many migrations a file has, and how many this Tollgate knows. Raises LedgerError."""
    with (
        named_errors(path),
        contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as db,
    ):
        return _version(db), len(list(MIGRATIONS.glob("*.sql")))


@contextlib.contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """All or nothing. The write lock is taken at once, so what is read inside stays true."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def insert_rows(
    db: sqlite3.Connection,
    table: str,
    columns: int,
    values: Sequence[object],
    on_conflict: str = "",
) -> None:
    """Insert whole rows, many in one statement; `values` are those of all rows, one after another.

    sqlite3 lets go of the interpreter lock for every statement; in a process with a busy event
    loop getting it back is what costs, so `executemany` is several times dearer than this. An enum
    or bytes among the values costs three times a plain str or bytearray: sqlite3 asks them whether
    they want to be something else.
    """
    for places, chunk in chunks(columns, values, _PARAMETERS_MAX):
        db.execute(f"INSERT INTO {table} VALUES {places}{on_conflict}", chunk)


@contextlib.contextmanager
def named_errors(path: Path) -> Iterator[None]:
    """SQLite's errors as LedgerErrors that name the file."""
    try:
        yield
    except sqlite3.IntegrityError as error:
        raise ConflictError(f"ledger {path}: {error}") from error
    except sqlite3.Error as error:
        raise LedgerError(f"ledger {path}: {error}") from error


def _make_durable(db: sqlite3.Connection) -> None:
    """A process that was killed between writing a commit and syncing it leaves one that is read
    as booked and that a power cut would still undo: a spool must not be emptied on its word.
    """
    db.execute("PRAGMA wal_checkpoint(PASSIVE)")


def _migrate(db: sqlite3.Connection, path: Path) -> None:
    files = sorted(MIGRATIONS.glob("*.sql"))
    if _version(db) == len(files):
        return
    with transaction(db):
        version = _version(db)
        if version > len(files):
            raise LedgerError(
                f"ledger {path} has schema version {version}, made by a newer Tollgate; this one "
                f"knows {len(files)}: install the newer one"
            )
        for file in files[version:]:
            for statement in _statements(file.read_text()):
                db.execute(statement)
        db.execute(f"PRAGMA user_version = {len(files)}")


def _version(db: sqlite3.Connection) -> int:
    version: int = db.execute("PRAGMA user_version").fetchone()[0]
    return version


def _statements(sql: str) -> Iterator[str]:
    statement = ""
    for line in sql.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""

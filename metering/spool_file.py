"""The spool's file: locked to one process, opened or made, read back."""

from __future__ import annotations

import fcntl
import os
import secrets
import sqlite3
from pathlib import Path

import msgspec

from metering.charge import Row
from metering.sqlite_file import connect, transaction

FORMAT = 1

_SCHEMA = """
CREATE TABLE batch (first_seq INTEGER PRIMARY KEY, rows INTEGER NOT NULL, body BLOB NOT NULL);
CREATE TABLE snapshot (writer TEXT NOT NULL, upto_seq INTEGER NOT NULL, body BLOB NOT NULL);
"""

encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder(list[Row]).decode


class SpoolError(Exception):
    """The spool cannot be opened, or could not write: nothing more may be served until it can."""


def lock(path: Path) -> int:
    """The lock that keeps a second process off the file; it ends with its process."""
    try:
        lock_file = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise SpoolError(f"spool {path}: {error}") from error
    try:
        fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        owner = os.read(lock_file, 32).decode(errors="replace").strip() or "unknown"
        os.close(lock_file)
        raise SpoolError(
            f"spool {path} is in use by process {owner}: two gateways cannot share one home. Stop "
            "the other one, or give this one a home of its own"
        ) from error
    os.ftruncate(lock_file, 0)
    os.pwrite(lock_file, f"{os.getpid()}\n".encode(), 0)
    return lock_file


def open_file(path: Path, name: str) -> sqlite3.Connection:
    db = connect(path)
    try:
        found = db.execute("PRAGMA user_version").fetchone()[0]
        if found not in (0, FORMAT):
            raise SpoolError(
                f"spool {path} has format {found}, this Tollgate knows {FORMAT}: start the version "
                "that wrote it, let it drain, then start this one"
            )
        if found == 0:
            with transaction(db):
                for statement in _SCHEMA.strip().splitlines():
                    db.execute(statement)
                row = (f"{name}-{secrets.token_hex(4)}", 0, encode([]))
                db.execute("INSERT INTO snapshot VALUES (?, ?, ?)", row)
                db.execute(f"PRAGMA user_version = {FORMAT}")
            _sync_folder(path.parent)
    except BaseException:
        db.close()
        raise
    return db


def writer_and_start(db: sqlite3.Connection) -> tuple[str, int]:
    writer, upto_seq = db.execute("SELECT writer, upto_seq FROM snapshot").fetchone()
    return str(writer), int(upto_seq)


def last_seq(db: sqlite3.Connection, forgotten_seq: int) -> int:
    (seq,) = db.execute("SELECT max(first_seq + rows - 1) FROM batch").fetchone()
    return forgotten_seq if seq is None else int(seq)


def _sync_folder(folder: Path) -> None:
    """A new file survives a power cut only if its folder's entry does."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

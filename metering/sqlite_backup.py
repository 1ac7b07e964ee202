"""A copy of a ledger in a SQLite file, taken while others write to it, and put back."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path

from metering.ledger import LedgerError
from metering.sqlite_file import named_errors

PAGES = 4096
"""Copied at once, 16 MiB. Writers wait for none of it."""

_BESIDE = ("-wal", "-shm")


def back_up(source: Path, copy: Path) -> None:
    """The whole of it as of one moment, under this name once it is durable and not before.

    Raises LedgerError; a file that has the name already is left as it is.
    """
    if copy.exists():
        raise LedgerError(f"{copy} exists: name a new file for each backup")
    unfinished = copy.with_name(f"{copy.name}.unfinished")
    unfinished.unlink(missing_ok=True)
    uri = source.absolute().as_uri()
    with (
        named_errors(copy),
        contextlib.closing(sqlite3.connect(f"{uri}?mode=ro", uri=True)) as db,
        contextlib.closing(sqlite3.connect(unfinished)) as into,
    ):
        db.execute("BEGIN")
        db.execute("SELECT count(*) FROM sqlite_master").fetchone()  # the moment is this one
        db.backup(into, pages=PAGES, sleep=0)
        into.execute("PRAGMA journal_mode = DELETE")  # one file, with nothing beside it
    _sync(unfinished)
    unfinished.rename(copy)
    _sync(copy.parent)


def put_back(copy: Path, target: Path, aside: Path) -> None:
    """The copy becomes the ledger; what was there is kept `aside`, with what belongs to it. The
    copy stays. Nobody may have the ledger open. Raises OSError.
    """
    arriving = target.with_name(f"{target.name}.arriving")
    with copy.open("rb") as read, arriving.open("wb") as write:
        while part := read.read(1 << 20):
            write.write(part)
    _sync(arriving)
    for suffix in ("", *_BESIDE):
        old = target.with_name(target.name + suffix)
        if old.exists():
            old.rename(aside.with_name(aside.name + suffix))
    arriving.rename(target)
    _sync(target.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

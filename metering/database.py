"""What a store of ours needs of a database, whichever it is: statements and transactions.

Stores are written once, in SQL that SQLite and PostgreSQL both understand: `?` for values,
`ON CONFLICT ... DO`, `RETURNING`; no `INSERT OR`, and no `? IS NULL`, whose type nobody knows.
Values are int, str, bytes and None, and so is what comes back. Each table is made by a migration
of either dialect, under the same number: INTEGER, TEXT and BLOB in SQLite are BIGINT, TEXT
(COLLATE "C" where it is a key or sorted by) and BYTEA in PostgreSQL.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

Rows = list[tuple[Any, ...]]


class Session(Protocol):
    def query(self, sql: str, *values: object) -> Rows:
        """Run one statement; what it returns, an empty list if that is nothing."""
        ...

    def insert(
        self, table: str, columns: int, values: Sequence[object], on_conflict: str = ""
    ) -> None:
        """Insert whole rows as fast as it goes; `values` are those of all rows, one after another,
        `on_conflict` ends the statement. Raises ConflictError.
        """
        ...

    @property
    def listed(self) -> str:
        """SQL for the strings of a JSON array, which is the value of its `?`: `id IN {listed}`."""
        ...


class Database(Session, Protocol):
    """Thread-safe. Methods raise LedgerError when the database cannot answer, its ConflictError
    when it refuses a row, and its TextError for a text that it cannot keep.

    A statement outside of a transaction is one of its own, and durable once it returns.
    """

    @property
    def name(self) -> str:
        """For messages: without a password."""
        ...

    def note(self, sql: str, *values: object) -> Rows:
        """One statement about what is not of the books: where the database lets it, it waits for no
        transaction of the ledger's, and nobody is told that something changed.
        """
        ...

    def transaction(self) -> AbstractContextManager[Session]:
        """All or nothing, and alone: no other transaction, the ledger's included, runs beside it.

        Inside only the session is asked, not the database.
        """
        ...

    def close(self) -> None: ...


def chunks(
    columns: int, values: Sequence[object], values_max: int
) -> Iterator[tuple[str, Sequence[object]]]:
    """Whole rows in statements of so many values: the places of each, and what belongs there.

    Sizes are powers of two: few distinct statements, so they stay prepared.
    """
    done, row = 0, "(" + ",".join("?" * columns) + ")"
    while done < len(values):
        rows = 1 << (min(len(values) - done, values_max) // columns).bit_length() - 1
        end = done + rows * columns
        yield ",".join([row] * rows), values[done:end]
        done = end


class Snapshot(Protocol):
    """The database at one moment, while others write on. Raises LedgerError, or DamagedError."""

    def rows(self, sql: str) -> Iterator[tuple[Any, ...]]:
        """One after another, however many; several of these may be under way at once."""
        ...

    def check(self) -> None:
        """Look for damage that reading would not find."""
        ...

"""What a store of ours needs of a database, whichever it is: statements and transactions.

Stores are written once, in SQL that SQLite and PostgreSQL both understand: `?` for values,
`ON CONFLICT ... DO`, `RETURNING`; no `INSERT OR`, and no `? IS NULL`, whose type nobody knows.
Values are int, str, bytes and None, and so is what comes back. Each table is made by a migration
of either dialect, under the same number: INTEGER, TEXT and BLOB in SQLite are BIGINT, TEXT
(COLLATE "C" where it is a key or sorted by) and BYTEA in PostgreSQL.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, Protocol

Rows = list[tuple[Any, ...]]


class Session(Protocol):
    def query(self, sql: str, *values: object) -> Rows:
        """Run one statement; what it returns, an empty list if that is nothing."""
        ...


class Database(Session, Protocol):
    """Thread-safe. Methods raise LedgerError when the database cannot answer, or refuses.

    A statement outside of a transaction is one of its own, and durable once it returns.
    """

    @property
    def name(self) -> str:
        """For messages: without a password."""
        ...

    def transaction(self) -> AbstractContextManager[Session]:
        """All or nothing, and alone: no other transaction, the ledger's included, runs beside it.

        Inside only the session is asked, not the database.
        """
        ...

    def close(self) -> None: ...

"""Batches in the ledger's database.

What the leader writes is written under its lease: nobody takes it in the middle of a transaction.
So a leader that was held up so long that another took over changes nothing any more.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec

from gateway.batches.batch import Batch, Status
from gateway.files.file_store import UNFINISHED, StoredFile, add_file
from metering.database import Database, Session
from metering.lease import keep

OPEN_BATCHES_MAX = 100
"""Of one account."""

LEASE = "batches"
_COLUMNS = ", ".join(Batch.__struct_fields__)
_PLACES = ", ".join("?" * len(Batch.__struct_fields__))


class TooManyBatchesError(ValueError):
    """The account has as many batches open as it may."""


class StatusError(ValueError):
    """The batch is in no state for this."""


class BatchStore:
    """Thread-safe. Raises LedgerError when the database cannot answer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # -- for customers ----------------------------------------------------------------------------

    def create(self, batch: Batch) -> None:
        """Raises TooManyBatchesError."""
        with self._database.transaction() as session:
            rows = session.query(
                f"SELECT count(*) FROM batch WHERE account = ? AND status IN {UNFINISHED}",
                batch.account,
            )
            if rows[0][0] >= OPEN_BATCHES_MAX:
                raise TooManyBatchesError(
                    f"account '{batch.account}' has {OPEN_BATCHES_MAX} batches that are not over, "
                    "the most accepted here: wait for one, or cancel one"
                )
            session.query(
                f"INSERT INTO batch ({_COLUMNS}) VALUES ({_PLACES})",
                *msgspec.structs.astuple(batch),
            )

    def get(self, account: str, batch_id: str) -> Batch | None:
        rows = self._database.query(
            f"SELECT {_COLUMNS} FROM batch WHERE batch_id = ? AND account = ?", batch_id, account
        )
        return _batch(rows[0]) if rows else None

    def page(self, account: str, *, after: Batch | None, limit: int) -> list[Batch]:
        """The newest first, those behind the one given."""
        where = "account = ?"
        place: tuple[object, ...] = ()
        if after is not None:
            where += " AND (created_ns, batch_id) < (?, ?)"
            place = (after.created_ns, after.batch_id)
        rows = self._database.query(
            f"SELECT {_COLUMNS} FROM batch WHERE {where}"
            " ORDER BY created_ns DESC, batch_id DESC LIMIT ?",
            account,
            *place,
            limit,
        )
        return [_batch(row) for row in rows]

    def cancel(self, batch_id: str, now_ns: int) -> Batch:
        """Raises StatusError if it is over."""
        with self._database.transaction() as session:
            batch = _find(session, batch_id)
            if batch.status is Status.CANCELLING:
                return batch
            if batch.status not in (Status.VALIDATING, Status.IN_PROGRESS):
                raise StatusError(
                    f"batch '{batch_id}' cannot be cancelled: its status is '{batch.status}'"
                )
            return _change(session, batch, status=Status.CANCELLING, cancelling_ns=now_ns)

    # -- for the leader ---------------------------------------------------------------------------

    def any_unfinished(self) -> bool:
        return bool(
            self._database.query(f"SELECT 1 FROM batch WHERE status IN {UNFINISHED} LIMIT 1")
        )

    def unfinished(self, limit: int) -> list[Batch]:
        """The oldest first."""
        rows = self._database.query(
            f"SELECT {_COLUMNS} FROM batch WHERE status IN {UNFINISHED}"
            " ORDER BY created_ns, batch_id LIMIT ?",
            limit,
        )
        return [_batch(row) for row in rows]

    @contextmanager
    def leading(self, holder: str) -> Iterator[Session]:
        """A transaction under the lease. Raises LeaseLostError."""
        with self._database.transaction() as session:
            keep(session, LEASE, holder)
            yield session

    def advance(
        self,
        holder: str,
        batch_id: str,
        expected: Status,
        files: Sequence[StoredFile] = (),
        **changes: object,
    ) -> Batch:
        """Change a batch that is in this state, with the files that come of it; itself, if it is
        in another by now. Raises LeaseLostError.
        """
        with self.leading(holder) as session:
            batch = _find(session, batch_id)
            if batch.status is not expected:
                return batch
            for file in files:
                add_file(session, file)
            if changes["status"] in _OVER:
                session.query("DELETE FROM batch_line WHERE batch_id = ?", batch_id)
            return _change(session, batch, **changes)


_OVER = (Status.COMPLETED, Status.FAILED, Status.EXPIRED, Status.CANCELLED)


def _find(session: Session, batch_id: str) -> Batch:
    """No batch is ever deleted."""
    (row,) = session.query(f"SELECT {_COLUMNS} FROM batch WHERE batch_id = ?", batch_id)
    return _batch(row)


def _change(session: Session, batch: Batch, **changes: object) -> Batch:
    changed = msgspec.structs.replace(batch, **changes)
    session.query(
        f"UPDATE batch SET {', '.join(f'{name} = ?' for name in changes)} WHERE batch_id = ?",
        *(getattr(changed, name) for name in changes),
        batch.batch_id,
    )
    return changed


def _batch(row: tuple[Any, ...]) -> Batch:
    return msgspec.convert(dict(zip(Batch.__struct_fields__, row, strict=True)), Batch)

"""The ledger in one SQLite file, which several processes on this machine may hold at once."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from metering.accounts import AccountError, asset_of
from metering.charge import ChargeRecord
from metering.ledger import (
    AccountBalance,
    Balance,
    BookedTransfer,
    ChargeTotal,
    EpochRow,
    Group,
    OnProgress,
    PostResult,
    Transfer,
    Verification,
    follows,
    same_epoch,
)
from metering.sqlite_batch import CHARGE_COLUMNS, EPOCH_COLUMNS, Batch, charge_of, epoch_of
from metering.sqlite_books import booked_rows, open_holds
from metering.sqlite_file import named_errors, open_file, transaction
from metering.sqlite_verify import verify

HOLDS_MAX = 100_000
"""Open holds kept in memory; more are looked up in the file."""

_PAGE_ROWS = 1000
_SCAN_ROWS = 20_000
"""Looked through in one go for open holds: some milliseconds in which nobody else reads."""


class SqliteLedger:
    """A `Ledger`. One connection writes, another reads; each behind its own lock.

    Raises LedgerError if the file cannot be opened, or was made by a newer version.
    """

    def __init__(self, path: Path, clock_ns: Callable[[], int] = time.time_ns) -> None:
        self.path = path
        self._clock_ns = clock_ns
        self._writes = threading.Lock()
        self._reads = threading.Lock()
        self._writer = open_file(path)
        self._reader = open_file(path)
        self._holds: dict[str, Transfer] = {}

    # -- writing ----------------------------------------------------------------------------------

    def post(
        self, writer: str, groups: Sequence[Group], watermark: int | None = None
    ) -> list[PostResult]:
        with self._writes, named_errors(self.path):
            results = self._try_as_new(writer, groups, watermark)
            if results is not None:
                return results
            batch = Batch(self._writer, writer, self._holds, self._clock_ns())
            with transaction(self._writer):
                batch.load(groups, careful=True)
                results = [batch.book(group).result for group in groups]
                moves = watermark if all(result.booked for result in results) else None
                batch.write(moves)
            batch.remember_holds(HOLDS_MAX)
            return results

    def _try_as_new(
        self, writer: str, groups: Sequence[Group], watermark: int | None
    ) -> list[PostResult] | None:
        """Book the groups if all of them are new and none is refused; otherwise leave no trace."""
        batch = Batch(self._writer, writer, self._holds, self._clock_ns())
        try:
            with transaction(self._writer):
                batch.load(groups, careful=False)
                if any(batch.book(group).result is not PostResult.OK for group in groups):
                    raise _NotNewError
                batch.write(watermark)
        except (_NotNewError, sqlite3.IntegrityError):
            return None
        batch.remember_holds(HOLDS_MAX)
        return [PostResult.OK] * len(groups)

    def post_epoch(self, row: EpochRow, groups: Sequence[Group], writer: str) -> PostResult:
        linked = Group(transfers=tuple(t for group in groups for t in group.transfers))
        batch = Batch(self._writer, writer, self._holds, self._clock_ns())
        with self._writes, named_errors(self.path), transaction(self._writer):
            known = _epoch(self._writer, row.epoch)
            if known is not None:
                same = same_epoch(row, known)
                return PostResult.EXISTS if same else PostResult.EXISTS_WITH_DIFFERENT_EPOCH
            if not follows(row, _latest_epoch(self._writer), _last_seq(self._writer)):
                return PostResult.INVALID_EPOCH
            if linked.transfers:
                batch.load([linked], careful=True)
                result = batch.book(linked).result
                if result is PostResult.EXISTS:
                    return PostResult.LINKED_FAILED
                if result is not PostResult.OK:
                    return result
            batch.write(None, row)
            return PostResult.OK

    def open_account(self, account: str) -> bool:
        if asset_of(account) is None:
            raise AccountError(f"'{account}' is no account of the chart")
        with self._writes, named_errors(self.path):
            made = self._writer.execute(
                "INSERT OR IGNORE INTO account VALUES (?, 0, 0, 0, 0)", (account,)
            )
            return made.rowcount == 1

    # -- reading ----------------------------------------------------------------------------------

    def watermark(self, writer: str) -> int:
        with self._reading() as db:
            row = db.execute("SELECT watermark FROM writer WHERE id = ?", (writer,)).fetchone()
        return int(row[0]) if row else 0

    def balance(self, account: str) -> Balance:
        return self.balances([account]).get(account, Balance())

    def balances(self, accounts: Iterable[str]) -> dict[str, Balance]:
        with self._reading() as db:
            rows = db.execute(
                "SELECT * FROM account WHERE id IN (SELECT value FROM json_each(?))",
                (json.dumps(list(accounts)),),
            ).fetchall()
        return {account: Balance(*counters) for account, *counters in rows}

    def trial_balance(self) -> list[AccountBalance]:
        with self._reading() as db:
            rows = db.execute("SELECT * FROM account ORDER BY id").fetchall()
        return [AccountBalance(account, Balance(*counters)) for account, *counters in rows]

    def charges(
        self,
        account: str | None = None,
        *,
        after_seq: int = 0,
        limit: int | None = None,
        newest_first: bool = False,
    ) -> Iterator[ChargeRecord]:
        before_seq = 2**63 - 1
        left = 2**63 - 1 if limit is None else limit
        while left > 0:
            with self._reading() as db:
                rows = db.execute(
                    f"SELECT seq, {CHARGE_COLUMNS} FROM charge WHERE seq > :after"
                    " AND seq < :before"
                    + ("" if account is None else " AND account = :account")
                    + f" ORDER BY seq {'DESC' if newest_first else 'ASC'} LIMIT :limit",
                    {
                        "after": after_seq,
                        "before": before_seq,
                        "account": account,
                        "limit": min(left, _PAGE_ROWS),
                    },
                ).fetchall()
            for row in rows:
                yield charge_of(row[1:])
            if len(rows) < _PAGE_ROWS:
                return
            left -= len(rows)
            if newest_first:
                before_seq = rows[-1][0]
            else:
                after_seq = rows[-1][0]

    def charge_totals(self, from_seq: int, to_seq: int) -> list[ChargeTotal]:
        with self._reading() as db:
            rows = db.execute(
                "SELECT supplier_id, model, sum(prompt_tokens), sum(completion_tokens),"
                " sum(cost_nano_usd), sum(charged_nano_usd), count(*) FROM charge"
                " WHERE seq > ? AND seq <= ? AND supplier_id <> '' AND usage_source IS NOT NULL"
                " GROUP BY supplier_id, model ORDER BY supplier_id, model",
                (from_seq, to_seq),
            ).fetchall()
        fields = ChargeTotal.__struct_fields__
        return [ChargeTotal(**dict(zip(fields, row, strict=True))) for row in rows]

    def last_seq(self) -> int:
        with self._reading() as db:
            return _last_seq(db)

    def booked(
        self,
        after_seq: int = 0,
        to_seq: int | None = None,
        *,
        since_ns: int = 0,
        until_ns: int | None = None,
    ) -> Iterator[BookedTransfer]:
        last_seq = self.last_seq() if to_seq is None else to_seq
        found: list[BookedTransfer] | None = None
        while found is None or len(found) == _PAGE_ROWS:
            with self._reading() as db:
                found = booked_rows(db, after_seq, last_seq, since_ns, until_ns, _PAGE_ROWS)
            yield from found
            after_seq = found[-1].seq if found else last_seq

    def open_holds(self, after_seq: int = 0) -> Iterator[tuple[int, Transfer]]:
        last_seq = self.last_seq()
        while after_seq < last_seq:
            to_seq = after_seq + _SCAN_ROWS
            with self._reading() as db:
                found = open_holds(db, after_seq, to_seq)
            yield from found
            after_seq = to_seq

    def epoch(self, number: int) -> EpochRow | None:
        with self._reading() as db:
            return _epoch(db, number)

    def epochs(self) -> list[EpochRow]:
        with self._reading() as db:
            rows = db.execute(f"SELECT {EPOCH_COLUMNS} FROM epoch ORDER BY epoch").fetchall()
        return [epoch_of(row) for row in rows]

    def verify(self, on_progress: OnProgress | None = None) -> Verification:
        with named_errors(self.path), contextlib.closing(open_file(self.path)) as db:
            return verify(db, on_progress)

    def data_version(self) -> int:
        with self._writes, named_errors(self.path):
            version: int = self._writer.execute("PRAGMA data_version").fetchone()[0]
        return version

    def close(self) -> None:
        """Waits for what is under way."""
        with self._writes, self._reads:
            self._writer.close()
            self._reader.close()

    @contextlib.contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._reads, named_errors(self.path):
            yield self._reader


class _NotNewError(Exception):
    """Some group was refused or exists: the batch must be judged with all look-ups made."""


def _last_seq(db: sqlite3.Connection) -> int:
    seq: int = db.execute("SELECT coalesce(max(seq), 0) FROM transfer").fetchone()[0]
    return seq


def _epoch(db: sqlite3.Connection, number: int) -> EpochRow | None:
    row = db.execute(f"SELECT {EPOCH_COLUMNS} FROM epoch WHERE epoch = ?", (number,)).fetchone()
    return None if row is None else epoch_of(row)


def _latest_epoch(db: sqlite3.Connection) -> EpochRow | None:
    row = db.execute(f"SELECT {EPOCH_COLUMNS} FROM epoch ORDER BY epoch DESC LIMIT 1").fetchone()
    return None if row is None else epoch_of(row)

"""The `Ledger` in a database: its reads and its transactions of bookings, for every dialect."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from msgspec.structs import astuple

from metering import epoch_rows
from metering.accounts import AccountError, asset_of
from metering.batch import CHARGE_COLUMNS, Batch, charge_of, listing
from metering.booked_rows import booked_rows, open_holds
from metering.charge import ChargeRecord
from metering.database import Database, Session
from metering.epoch_seal import EpochSeal, PayoutRow, SealedEpoch, ServedCharge, WriterEnd
from metering.ledger import (
    AccountBalance,
    Balance,
    BookedTransfer,
    ChargeTotal,
    ConflictError,
    EpochRow,
    Group,
    PostResult,
    Transfer,
    follows,
    same_epoch,
)

HOLDS_MAX = 100_000
"""Open holds kept in memory; more are looked up."""

_PAGE_ROWS = 1000
_SCAN_ROWS = 20_000
"""Looked through in one go for open holds: some milliseconds in which nobody else reads."""


class SqlLedger:
    """All of a `Ledger` but its audit and its data version, which are each database's own."""

    def __init__(self, writes: Database, reads: Database, clock_ns: Callable[[], int]) -> None:
        self._writes = writes
        self._reads = reads
        self._clock_ns = clock_ns
        self._holds: dict[str, Transfer] = {}

    # -- writing ----------------------------------------------------------------------------------

    def post(
        self, writer: str, groups: Sequence[Group], watermark: int | None = None
    ) -> list[PostResult]:
        results = self._try_as_new(writer, groups, watermark)
        if results is not None:
            return results
        with self._writes.transaction() as db:
            batch = Batch(db, writer, self._holds, self._clock_ns())
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
        try:
            with self._writes.transaction() as db:
                batch = Batch(db, writer, self._holds, self._clock_ns())
                batch.load(groups, careful=False)
                for group in groups:
                    if batch.book(group).result is not PostResult.OK:
                        raise _NotNewError
                batch.write(watermark)
        except (_NotNewError, ConflictError):
            return None
        batch.remember_holds(HOLDS_MAX)
        return [PostResult.OK] * len(groups)

    def post_epoch(
        self,
        row: EpochRow,
        groups: Sequence[Group],
        writer: str,
        sealed: SealedEpoch | None = None,
    ) -> PostResult:
        linked = Group(transfers=tuple(t for group in groups for t in group.transfers))
        with self._writes.transaction() as db:
            known = epoch_rows.epoch(db, row.epoch)
            if known is not None:
                same = same_epoch(row, known)
                return PostResult.EXISTS if same else PostResult.EXISTS_WITH_DIFFERENT_EPOCH
            if not follows(row, epoch_rows.latest_epoch(db), _last_seq(db)):
                return PostResult.INVALID_EPOCH
            batch = Batch(db, writer, self._holds, self._clock_ns())
            if linked.transfers:
                batch.load([linked], careful=True)
                result = batch.book(linked).result
                if result is PostResult.EXISTS:
                    return PostResult.LINKED_FAILED
                if result is not PostResult.OK:
                    return result
            batch.write(None, row)
            if sealed is not None:
                _write_seal(db, sealed)
            return PostResult.OK

    def open_account(self, account: str) -> bool:
        if asset_of(account) is None:
            raise AccountError(f"'{account}' is no account of the chart")
        made = self._writes.query(
            "INSERT INTO account VALUES (?, 0, 0, 0, 0) ON CONFLICT (id) DO NOTHING RETURNING id",
            account,
        )
        return len(made) == 1

    # -- reading ----------------------------------------------------------------------------------

    def watermark(self, writer: str) -> int:
        rows = self._reads.query("SELECT watermark FROM writer WHERE id = ?", writer)
        return int(rows[0][0]) if rows else 0

    def balance(self, account: str) -> Balance:
        return self.balances([account]).get(account, Balance())

    def balances(self, accounts: Iterable[str]) -> dict[str, Balance]:
        rows = self._reads.query(
            f"SELECT * FROM account WHERE id IN {self._reads.listed}", listing(accounts)
        )
        return {account: Balance(*counters) for account, *counters in rows}

    def trial_balance(self) -> list[AccountBalance]:
        rows = self._reads.query("SELECT * FROM account ORDER BY id")
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
        of_account, values = ("", ()) if account is None else (" AND account = ?", (account,))
        order = "DESC" if newest_first else "ASC"
        while left > 0:
            rows = self._reads.query(
                f"SELECT seq, {CHARGE_COLUMNS} FROM charge WHERE seq > ? AND seq < ?{of_account}"
                f" ORDER BY seq {order} LIMIT ?",
                *(after_seq, before_seq, *values, min(left, _PAGE_ROWS)),
            )
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
        rows = self._reads.query(
            "SELECT supplier_id, model, sum(prompt_tokens), sum(completion_tokens),"
            " sum(cost_nano_usd), sum(charged_nano_usd), count(*) FROM charge"
            " WHERE seq > ? AND seq <= ? AND supplier_id <> '' AND usage_source IS NOT NULL"
            " GROUP BY supplier_id, model ORDER BY supplier_id, model",
            *(from_seq, to_seq),
        )
        fields = ChargeTotal.__struct_fields__
        return [ChargeTotal(**dict(zip(fields, row, strict=True))) for row in rows]

    def last_seq(self) -> int:
        return _last_seq(self._reads)

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
            found = booked_rows(self._reads, after_seq, last_seq, since_ns, until_ns, _PAGE_ROWS)
            yield from found
            after_seq = found[-1].seq if found else last_seq

    def open_holds(self, after_seq: int = 0) -> Iterator[tuple[int, Transfer]]:
        last_seq = self.last_seq()
        while after_seq < last_seq:
            to_seq = after_seq + _SCAN_ROWS
            yield from open_holds(self._reads, after_seq, to_seq)
            after_seq = to_seq

    def served_charges(
        self, from_seq: int, to_seq: int, supplier_id: str | None = None
    ) -> Iterator[ServedCharge]:
        return epoch_rows.served_charges(self._reads, from_seq, to_seq, supplier_id)

    def writer_ends(self, from_seq: int, to_seq: int) -> list[WriterEnd]:
        return epoch_rows.writer_ends(self._reads, from_seq, to_seq)

    def epoch(self, number: int) -> EpochRow | None:
        return epoch_rows.epoch(self._reads, number)

    def latest_epoch(self) -> EpochRow | None:
        return epoch_rows.latest_epoch(self._reads)

    def epochs(self) -> Iterator[EpochRow]:
        for (number,) in self._reads.query("SELECT epoch FROM epoch ORDER BY epoch"):
            row = epoch_rows.epoch(self._reads, number)
            if row is not None:
                yield row

    def seals(self, *, before: int | None = None, limit: int = 1) -> list[EpochSeal]:
        return epoch_rows.seals(self._reads, 2**63 - 1 if before is None else before, limit)

    def payouts(
        self, epoch: int, *, after_leaf: int = -1, limit: int | None = None
    ) -> Iterator[PayoutRow]:
        most = 2**63 - 1 if limit is None else limit
        return epoch_rows.payouts(self._reads, epoch, after_leaf, most)

    def payout(self, epoch: int, supplier_id: str) -> PayoutRow | None:
        return epoch_rows.payout(self._reads, epoch, supplier_id)

    def close(self) -> None:
        """Waits for what is under way."""
        self._writes.close()
        self._reads.close()


class _NotNewError(Exception):
    """Some group was refused or exists: the batch must be judged with all look-ups made."""


def _last_seq(db: Session) -> int:
    seq: int = db.query("SELECT coalesce(max(seq), 0) FROM transfer")[0][0]
    return seq


def _write_seal(db: Session, sealed: SealedEpoch) -> None:
    db.insert("epoch_seal", 4, astuple(sealed.seal))
    values = [value for payout in sealed.payouts for value in astuple(payout)]
    db.insert("payout", len(PayoutRow.__struct_fields__), values)

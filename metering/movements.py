"""An account's rows in the ledger that are no charges, and its balance at any row of it."""

from __future__ import annotations

from typing import Any

import msgspec

from metering.database import Database
from metering.transfer import BookedTransfer, Transfer

_MOVES = "kind = 'single' AND code <> 'charge'"
"""Letter for letter as the indexes have it. It is judged for every transfer that is booked, so it
costs a charge two comparisons instead of naming all codes that charges have.
"""
_NO_CHARGE = f"{_MOVES} AND code NOT IN ('void', 'shortfall')"
"""Holds are pending, and what resolves them is no single transfer."""

SEQ_MAX = 2**63 - 1

_COLUMNS = "seq, booked_ns, " + ", ".join(Transfer.__struct_fields__)

_IN = f"FROM transfer WHERE credit = ? AND {_NO_CHARGE}"
_OUT = f"FROM transfer WHERE debit = ? AND {_NO_CHARGE}"
_SUM = "coalesce((SELECT CAST(sum(amount) AS BIGINT) "


class Movements:
    """Thread-safe. Raises LedgerError when the database cannot answer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def by_id(self, *ids: str) -> dict[str, BookedTransfer]:
        places = ", ".join("?" * len(ids))
        rows = self._database.query(f"SELECT {_COLUMNS} FROM transfer WHERE id IN ({places})", *ids)
        return {booked.transfer.id: booked for booked in map(_booked, rows)}

    def newest(
        self, credit: str, code: str, *, before_seq: int, limit: int
    ) -> list[BookedTransfer]:
        """Into an account by their code, the newest first."""
        rows = self._database.query(
            f"SELECT {_COLUMNS} {_IN} AND code = ? AND seq < ? ORDER BY seq DESC LIMIT ?",
            credit,
            code,
            before_seq,
            limit,
        )
        return [_booked(row) for row in rows]

    def unanswered(self, credit: str, answer_prefix: str) -> list[BookedTransfer]:
        """Into an account, those that no transfer named for them has answered; in their order."""
        rows = self._database.query(
            f"SELECT {_COLUMNS} {_IN} AND NOT EXISTS (SELECT 1 FROM transfer AS answer"
            " WHERE answer.id = ? || transfer.id) ORDER BY seq",
            credit,
            answer_prefix,
        )
        return [_booked(row) for row in rows]

    def between(self, account: str, from_seq: int, to_seq: int) -> list[BookedTransfer]:
        """Into and out of an account over (from_seq, to_seq], the oldest first."""
        span = (account, from_seq, to_seq)
        rows = self._database.query(
            f"SELECT {_COLUMNS} {_IN} AND seq > ? AND seq <= ?"
            f" UNION ALL SELECT {_COLUMNS} {_OUT} AND seq > ? AND seq <= ? ORDER BY seq",
            *span,
            *span,
        )
        return [_booked(row) for row in rows]

    def moved(self, account: str, from_seq: int, to_seq: int, *, against: str | None = None) -> int:
        """What those over (from_seq, to_seq] added to it, of one other account or of all."""
        also_in = also_out = ""
        values: tuple[object, ...] = (account, from_seq, to_seq)
        if against is not None:
            also_in, also_out = " AND debit = ?", " AND credit = ?"
            values = (account, from_seq, to_seq, against)
        ((moved,),) = self._database.query(
            f"SELECT {_SUM} {_IN} AND seq > ? AND seq <= ?{also_in}), 0)"
            f" - {_SUM} {_OUT} AND seq > ? AND seq <= ?{also_out}), 0)",
            *values,
            *values,
        )
        return int(moved)

    def moved_since(self, account: str, customer: str, after_seq: int) -> tuple[int, int]:
        """(what the account's own counters say now, what all rows behind this one added to it).

        Both at one moment; `customer` is the name that the account's charges go by.
        """
        ((posted, moved),) = self._database.query(
            "SELECT coalesce((SELECT credits_posted - debits_posted FROM account WHERE id = ?), 0),"
            f" {_SUM} {_IN} AND seq > ?), 0) - {_SUM} {_OUT} AND seq > ?), 0)"
            " - coalesce((SELECT CAST(sum(charged_nano_usd) AS BIGINT) FROM charge"
            " WHERE account = ? AND seq > ?), 0)",
            account,
            account,
            after_seq,
            account,
            after_seq,
            customer,
            after_seq,
        )
        return int(posted), int(moved)


def _booked(row: tuple[Any, ...]) -> BookedTransfer:
    seq, booked_ns, *values = row
    fields = dict(zip(Transfer.__struct_fields__, values, strict=True))
    return BookedTransfer(msgspec.convert(fields, Transfer), seq, booked_ns)

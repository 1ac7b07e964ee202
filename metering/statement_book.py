"""Statements out of the ledger, the ends of its months, and invoice numbers."""

from __future__ import annotations

import msgspec

from metering import accounts
from metering.database import Database, Session
from metering.legs import REQUEST_SQL
from metering.money import format_usd
from metering.month import Month, MonthError
from metering.movements import Movements
from metering.row_times import last_row, row_before
from metering.statement import AccountRows, Statement, StatementError, UsageSum, statement

_USAGE = (
    "SELECT closed_ns / 86400000000000, model, key_id, price_version,"
    f" CAST(sum({REQUEST_SQL}) AS BIGINT),"
    " CAST(sum(prompt_tokens) AS BIGINT), CAST(sum(cached_tokens) AS BIGINT),"
    " CAST(sum(completion_tokens) AS BIGINT), CAST(sum(reasoning_tokens) AS BIGINT),"
    " CAST(sum(cost_nano_usd) AS BIGINT), CAST(sum(charged_nano_usd) AS BIGINT)"
    " FROM charge WHERE account = ? AND seq > ? AND seq <= ? AND usage_source IS NOT NULL"
    " GROUP BY closed_ns / 86400000000000, model, key_id, price_version"
)


class Ends:
    """Where the months of the books end. A month's end is found once it is over, and then stays.

    It is the last row that was booked before the month's last moment, by the ledger's own clock.
    Should that clock be set back, rows keep to the month they came after: the end does not move.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def end_of(self, month: Month) -> int:
        """Its last row's number, 0 if the books began later. The month must be over."""
        known = self._known(self._database, month)
        if known is not None:
            return known
        found = row_before(self._database, month.end_ns)
        if not found:
            return 0
        with self._database.transaction() as session:
            ((earliest, latest),) = session.query(
                "SELECT coalesce((SELECT max(to_seq) FROM month_end WHERE month < ?), 0),"
                " coalesce((SELECT min(to_seq) FROM month_end WHERE month > ?), ?)",
                str(month),
                str(month),
                found,
            )
            session.query(
                "INSERT INTO month_end (month, to_seq) VALUES (?, ?) ON CONFLICT DO NOTHING",
                str(month),
                max(earliest, min(found, latest)),
            )
            made = self._known(session, month)
        assert made is not None, month
        return made

    def _known(self, session: Session, month: Month) -> int | None:
        rows = session.query("SELECT to_seq FROM month_end WHERE month = ?", str(month))
        return rows[0][0] if rows else None


class StatementBook:
    """Thread-safe. Methods raise LedgerError when the database cannot answer."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._movements = Movements(database)
        self._ends = Ends(database)

    def statement(self, account: str, month: Month, now_ns: int) -> Statement:
        """Of a month that is over, with its invoice number; of this month, as far as it is.

        The number is given when the statement is first asked for, and stays. Raises AccountError,
        MonthError for a month that has not begun, StatementError if the rows do not add up.
        """
        if month.start_ns > now_ns:
            raise MonthError(f"{month} has not begun: there is nothing to tell of it yet")
        final = month.end_ns <= now_ns
        from_seq = self._ends.end_of(month.before)
        to_seq = self._ends.end_of(month) if final else last_row(self._database)
        rows = self._rows(account, month, from_seq, to_seq)
        made = statement(account, month, rows, final=final)
        if not final or made.is_empty:
            return made
        return self._numbered(made, now_ns)

    def _rows(self, account: str, month: Month, from_seq: int, to_seq: int) -> AccountRows:
        name = accounts.customer(account)
        posted, since = self._movements.moved_since(name, account, to_seq)
        usage = self._database.query(_USAGE, account, from_seq, to_seq)
        return AccountRows(
            from_seq=from_seq,
            to_seq=to_seq,
            opening_nano_usd=self._opening(account, month, from_seq),
            closing_nano_usd=posted - since,
            credit_line_nano_usd=self._movements.moved(
                name, 0, to_seq, against=accounts.credit_line(account)
            ),
            transfers=tuple(self._movements.between(name, from_seq, to_seq)),
            usage=tuple(UsageSum(*row) for row in usage),
        )

    def _opening(self, account: str, month: Month, from_seq: int) -> int:
        """From the last invoice before the month on: to sum up all rows would take ever longer."""
        name, closing, seq = accounts.customer(account), 0, 0
        invoiced = self._database.query(
            "SELECT closing_nano_usd, to_seq FROM invoice JOIN month_end USING (month)"
            " WHERE account = ? AND month < ? ORDER BY month DESC LIMIT 1",
            account,
            str(month),
        )
        if invoiced:
            ((closing, seq),) = invoiced
        ((charged,),) = self._database.query(
            "SELECT coalesce(CAST(sum(charged_nano_usd) AS BIGINT), 0) FROM charge"
            " WHERE account = ? AND seq > ? AND seq <= ?",
            account,
            seq,
            from_seq,
        )
        return int(closing + self._movements.moved(name, seq, from_seq) - charged)

    def _numbered(self, made: Statement, now_ns: int) -> Statement:
        found = self._invoice(self._database, made)
        if found is None:
            with self._database.transaction() as session:
                session.query(
                    "INSERT INTO invoice (number, account, month, closing_nano_usd, issued_ns)"
                    " SELECT coalesce((SELECT max(number) FROM invoice), 0) + 1, ?, ?, ?, ?"
                    " WHERE NOT EXISTS"
                    " (SELECT 1 FROM invoice WHERE account = ? AND month = ?)",
                    made.account,
                    made.month,
                    made.closing_nano_usd,
                    now_ns,
                    made.account,
                    made.month,
                )
                found = self._invoice(session, made)
        assert found is not None, made.month
        number, closing, issued_ns = found
        if closing != made.closing_nano_usd:
            raise StatementError(
                f"invoice {invoice_name(number)} of '{made.account}' for {made.month} was issued "
                f"with a closing balance of {format_usd(closing)} USD, and the ledger now has "
                f"{format_usd(made.closing_nano_usd)}: run `tollgate ledger verify`"
            )
        return msgspec.structs.replace(made, invoice=invoice_name(number), issued_ns=issued_ns)

    def _invoice(self, session: Session, made: Statement) -> tuple[int, int, int] | None:
        rows = session.query(
            "SELECT number, closing_nano_usd, issued_ns FROM invoice"
            " WHERE account = ? AND month = ?",
            made.account,
            made.month,
        )
        return (rows[0][0], rows[0][1], rows[0][2]) if rows else None


def invoice_name(number: int) -> str:
    return f"TG-{number:06}"

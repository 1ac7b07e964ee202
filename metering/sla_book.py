"""SLAs in the books: each period judged once, its credits posted, the verdicts kept.

Any number of gateways may judge the same period: the credit's id is made of objective, account and
period, so it is booked once, and the first verdict stands, also against charges that come later.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from metering.database import Database
from metering.ledger import Ledger, LedgerError
from metering.movements import Movements
from metering.row_times import row_before
from metering.sla import (
    Objective,
    Period,
    SlaRow,
    Verdict,
    credit_group,
    credit_id,
    judge,
    periods,
    verdict_of,
)

GRACE_NS = 3_600_000_000_000
"""What is not in the books an hour after a period cannot change its verdict."""

_ROWS_AT_ONCE = 5_000
_WHOLE = ""
"""In place of an account: the period is judged for all of them."""


class SlaBook:
    """Thread-safe. Methods raise LedgerError when the ledger cannot answer.

    A period is judged `grace_ns` after its end, so that charges which are on their way to the books
    are in it.
    """

    def __init__(self, ledger: Ledger, database: Database, writer: str, *, grace_ns: int) -> None:
        self._ledger = ledger
        self._database = database
        self._movements = Movements(database)
        self._writer = writer
        self._grace_ns = grace_ns

    def run(self, objective: Objective, now_ns: int) -> list[Verdict]:
        """Judge what is over and was not judged, and post the credits. Returns the new verdicts."""
        done = self._judged(objective.name)
        made: list[Verdict] = []
        for period in periods(objective, now_ns - self._grace_ns):
            if period.name not in done:
                made += self._judge(objective, period, now_ns)
        return made

    def verdicts(self, *, account: str | None = None, limit: int) -> list[Verdict]:
        """The newest periods first."""
        where = "account <> ?" if account is None else "account = ?"
        rows = self._database.query(
            f"SELECT verdict FROM sla_verdict WHERE {where}"
            " ORDER BY period DESC, sla, account LIMIT ?",
            _WHOLE if account is None else account,
            limit,
        )
        return [verdict_of(row[0]) for row in rows]

    def _judge(self, objective: Objective, period: Period, now_ns: int) -> list[Verdict]:
        verdicts = [
            self._credited(verdict)
            for verdict in judge(objective, period, self._rows(objective, period))
        ]
        for verdict in verdicts:
            self._keep(verdict.sla, verdict.account, verdict.period, now_ns, _text(verdict))
        self._keep(objective.name, _WHOLE, period.name, now_ns, "{}")
        return verdicts

    def _credited(self, verdict: Verdict) -> Verdict:
        """The verdict that was credited: this one, or what another gateway was quicker with."""
        if not verdict.credit_nano_usd:
            return verdict
        name = credit_id(verdict.sla, verdict.account, verdict.period)
        booked = self._movements.by_id(name)
        if not booked:
            (result,) = self._ledger.post(self._writer, [credit_group(verdict)])
            booked = self._movements.by_id(name)
            if not booked:
                raise LedgerError(f"the ledger refused the credit '{name}': {result}")
        return verdict_of(booked[name].transfer.detail)

    def _rows(self, objective: Objective, period: Period) -> Iterator[SlaRow]:
        """Of the ledger's rows that were booked from the period's begin to the end of its grace."""
        seq = row_before(self._database, period.start_ns)
        to_seq = row_before(self._database, period.end_ns + self._grace_ns)
        also, values = "", []
        for column, value in (("account", objective.account), ("model", objective.model)):
            if value is not None:
                also += f" AND {column} = ?"
                values.append(value)
        while seq < to_seq:
            rows = self._database.query(
                "SELECT seq, account, model, closed_ns, outcome, ttft_ns, charged_nano_usd"
                f" FROM charge WHERE seq > ? AND seq <= ?{also} ORDER BY seq LIMIT ?",
                seq,
                to_seq,
                *values,
                _ROWS_AT_ONCE,
            )
            for row in rows:
                yield SlaRow(*row[1:])
            if len(rows) < _ROWS_AT_ONCE:
                return
            seq = rows[-1][0]

    def _judged(self, sla: str) -> set[str]:
        rows = self._database.query(
            "SELECT period FROM sla_verdict WHERE sla = ? AND account = ?", sla, _WHOLE
        )
        return {row[0] for row in rows}

    def _keep(self, sla: str, account: str, period: str, now_ns: int, text: str) -> None:
        self._database.query(
            "INSERT INTO sla_verdict (sla, account, period, judged_ns, verdict)"
            " VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            sla,
            account,
            period,
            now_ns,
            text,
        )


def _text(verdict: Verdict) -> str:
    return msgspec.json.encode(verdict, order="sorted").decode()

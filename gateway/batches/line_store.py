"""The lines of unfinished batches that have an answer, in the ledger's database.

How a line comes to be answered once and charged once, whatever dies when:

    1  the node's answer is whole           row `answered`, with the answer and the charge's id
    2  the charge is closed in the spool    durable: it will be in the ledger, exactly once
    3                                       row `done`, and counted

A gateway that dies before 1 has charged nothing: its charge, if it was opened, is voided by the
spool's recovery, and the line runs again. After 1 the fate of the charge is that of the line, and
only the spool of that gateway knows it: `settle` asks the ledger when that spool is booked. If the
charge is there the line is done, with the answer that was paid for; if not, the row is dropped and
the line runs again. No line with a row is ever run.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from gateway.batches.batch_store import BatchStore
from metering.database import Database, Session
from metering.usage import Usage

_FIELDS = (
    "batch_id, line, state, charge_id, writer, output, prompt_tokens, cached_tokens, "
    "completion_tokens, reasoning_tokens"
)
_INSERT = (
    f"INSERT INTO batch_line ({_FIELDS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
    " ON CONFLICT (batch_id, line) DO NOTHING RETURNING line"
)
_IS_KEPT = "SELECT 1 FROM batch_line WHERE batch_id = ? AND line = ? AND charge_id = ?"
"""By an earlier try, of which nobody knew how it ended."""

_PAGE_ROWS = 200
_NO_TOKENS = Usage(prompt_tokens=0)


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a line. `charge_id` None: it failed, and costs nothing."""

    batch_id: str
    number: int
    charge_id: str | None
    output: bytes
    """A line of the output file or of the error file."""
    usage: Usage | None = None

    @property
    def failed(self) -> bool:
        return self.charge_id is None


class LineStore:
    """Thread-safe. Raises LedgerError when the database cannot answer."""

    def __init__(self, database: Database, batches: BatchStore, writer: str) -> None:
        """`writer` is this gateway's spool."""
        self._database = database
        self._batches = batches
        self._writer = writer

    def settle(self) -> tuple[int, int]:
        """Before this gateway runs a line, and once the ledger has all of its spool: what an
        earlier life of it left `answered` is done or will be run again. Returns how many of each.
        """
        with self._database.transaction() as session:
            rows = session.query(
                "SELECT batch_id, line, charge_id FROM batch_line"
                " WHERE writer = ? AND state = 'answered'",
                self._writer,
            )
            left = [(batch_id, line) for batch_id, line, charge_id in rows if charge_id]
            paid = [
                (batch_id, line)
                for batch_id, line, charge_id in rows
                if session.query("SELECT 1 FROM transfer WHERE id = ?", f"{charge_id}:charge")
            ]
            self._finish(session, paid)
            for place in set(left) - set(paid):
                session.query("DELETE FROM batch_line WHERE batch_id = ? AND line = ?", *place)
        return len(paid), len(left) - len(paid)

    def write(
        self, answered: Sequence[Line], done: Sequence[tuple[str, int]]
    ) -> set[tuple[str, int]]:
        """One transaction: keep these answers, and count those whose charge is durable. Returns
        which are kept: a line that has another answer keeps that. Raises LeaseLostError.
        """
        with self._batches.leading(self._writer) as session:
            self._finish(session, done)
            return {(line.batch_id, line.number) for line in answered if self._keep(session, line)}

    def _keep(self, session: Session, line: Line) -> bool:
        usage = line.usage or _NO_TOKENS
        kept = session.query(
            _INSERT,
            line.batch_id,
            line.number,
            "failed" if line.failed else "answered",
            line.charge_id,
            self._writer,
            line.output,
            usage.prompt_tokens,
            usage.cached_tokens,
            usage.completion_tokens,
            usage.reasoning_tokens,
        )
        if not kept:
            return bool(session.query(_IS_KEPT, line.batch_id, line.number, line.charge_id or ""))
        if line.failed:
            session.query("UPDATE batch SET failed = failed + 1 WHERE batch_id = ?", line.batch_id)
        return True

    def _finish(self, session: Session, places: Iterable[tuple[str, int]]) -> None:
        for batch_id, line in places:
            rows = session.query(
                "UPDATE batch_line SET state = 'done' WHERE batch_id = ? AND line = ?"
                " AND state = 'answered' RETURNING prompt_tokens, cached_tokens,"
                " completion_tokens, reasoning_tokens",
                batch_id,
                line,
            )
            for tokens in rows:
                session.query(
                    "UPDATE batch SET completed = completed + 1, prompt_tokens = prompt_tokens + ?,"
                    " cached_tokens = cached_tokens + ?, completion_tokens = completion_tokens + ?,"
                    " reasoning_tokens = reasoning_tokens + ? WHERE batch_id = ?",
                    *tokens,
                    batch_id,
                )

    def finish_all(self, batch_id: str) -> None:
        """The batch ends: what is still `answered`, by a gateway that died and did not come back,
        is given out. Whether it was charged only that gateway's spool knows.
        """
        with self._batches.leading(self._writer) as session:
            rows = session.query(
                "SELECT line FROM batch_line WHERE batch_id = ? AND state = 'answered'", batch_id
            )
            self._finish(session, [(batch_id, line) for (line,) in rows])

    def numbers(self, batch_id: str) -> set[int]:
        """The lines that must not run."""
        rows = self._database.query("SELECT line FROM batch_line WHERE batch_id = ?", batch_id)
        return {number for (number,) in rows}

    def unsettled(self, batch_id: str) -> int:
        """Lines whose charge's fate is not known."""
        rows = self._database.query(
            "SELECT count(*) FROM batch_line WHERE batch_id = ? AND state = 'answered'", batch_id
        )
        return int(rows[0][0])

    def outputs(self, batch_id: str, state: str, after_line: int) -> list[tuple[int, bytes]]:
        """Some, in the order of the input; none at the end."""
        rows = self._database.query(
            "SELECT line, output FROM batch_line WHERE batch_id = ? AND state = ? AND line > ?"
            " ORDER BY line LIMIT ?",
            batch_id,
            state,
            after_line,
            _PAGE_ROWS,
        )
        return [(line, bytes(output)) for line, output in rows]

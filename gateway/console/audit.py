"""What was done in the console: written down before it is done, and what came of it after."""

from __future__ import annotations

import msgspec

from metering.database import Database
from metering.ledger import ConflictError

BEGAN, DONE, REFUSED = "began", "done", "refused"
_COLUMNS = "at_ns, session, source, action, subject, outcome, detail, once"


class AuditLine(msgspec.Struct, frozen=True, kw_only=True):
    at_ns: int
    session: str
    """Of who did it; "" before there was one."""
    source: str
    """The address that it came from."""
    action: str
    subject: str
    """What it was done to: a node, a key, an account."""
    outcome: str
    detail: str
    """What was given, and what came of it; never a secret."""
    once: str | None = None
    """Names one pressing of a button: with the same it is begun only once."""


class AuditTrail:
    """Thread-safe; nothing in it can be changed. Raises LedgerError."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def write(self, line: AuditLine) -> bool:
        """False: this very pressing of the button was begun before, and nothing is written."""
        try:
            self._database.query(
                f"INSERT INTO console_audit ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                *msgspec.structs.astuple(line),
            )
        except ConflictError:
            return False
        return True

    def newest(self, *, before_seq: int | None, limit: int) -> list[tuple[int, AuditLine]]:
        """With their places, the newest first; `before_seq` pages on."""
        where, values = ("", ()) if before_seq is None else (" WHERE seq < ?", (before_seq,))
        rows = self._database.query(
            f"SELECT seq, {_COLUMNS} FROM console_audit{where} ORDER BY seq DESC LIMIT ?",
            *values,
            limit,
        )
        fields = AuditLine.__struct_fields__
        return [(row[0], AuditLine(**dict(zip(fields, row[1:], strict=True)))) for row in rows]

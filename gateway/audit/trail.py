"""What operators did: written down before it is done, and again with what came of it.

One trail for the console, the admin API and the command line. `was` and `became` are the changed
thing as JSON before and after, without a secret.
"""

from __future__ import annotations

import time
from enum import StrEnum
from typing import Any

import msgspec

from gateway.audit.states import States
from metering.database import Database
from metering.ledger import ConflictError
from metering.month import time_text

BEGAN, DONE, REFUSED = "began", "done", "refused"
_TEXT_MAX, _STATE_MAX = 2_000, 20_000
_COLUMNS = (
    "at_ns, via, session, source, action, subject, outcome, detail, was, became, once"  # the fields
)


class Via(StrEnum):
    CONSOLE = "console"
    API = "api"
    CLI = "cli"


class AuditLine(msgspec.Struct, frozen=True, kw_only=True):
    at_ns: int
    via: str
    who: str
    """The console's session, the user of a command; "" of the admin API, which has one key."""
    source: str
    """The address or the machine that it came from."""
    action: str
    subject: str
    """What it was done to: a node, a key, an account."""
    outcome: str
    detail: str = ""
    """What was given, and what came of it; never a secret."""
    was: str = ""
    became: str = ""
    once: str | None = None
    """Names one pressing of a button: with the same it is begun only once."""

    @property
    def changes(self) -> list[tuple[str, str, str]]:
        """What differs after from before, for people: amounts once, in USD, times in UTC."""
        was, became = value_of(self.was), value_of(self.became)
        if not isinstance(was, dict) or not isinstance(became, dict):
            return []
        return [
            (name.replace("_", " "), _text(name, was.get(name)), _text(name, value))
            for name, value in became.items()
            if was.get(name) != value and not name.endswith("_nano_usd")
        ]


class AuditQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    action: str | None = None
    subject: str | None = None
    before: int | None = None
    """The `seq` of the last line of the page before."""
    limit: int = 100


class AuditTrail:
    """Thread-safe; nothing in it can be changed. Raises LedgerError."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._states = States(database)

    def begin(
        self,
        *,
        via: Via,
        who: str,
        source: str,
        action: str,
        subject: str,
        given: object = None,
        once: str | None = None,
    ) -> AuditLine | None:
        """None: this very pressing of the button was begun before, and nothing is written."""
        line = AuditLine(
            at_ns=time.time_ns(),
            via=via,
            who=who,
            source=source,
            action=action,
            subject=subject[:_TEXT_MAX],
            outcome=BEGAN,
            detail=_json(given),
            was=_json(self._states.of(action, subject)),
            once=once,
        )
        return line if self.write(line) else None

    def end(
        self,
        begun: AuditLine,
        outcome: str,
        detail: str = "",
        *,
        subject: str = "",
        made: object = None,
    ) -> None:
        """`subject` is for what had no name before, `made` for what cannot be looked up again."""
        subject = subject or begun.subject
        became = self._states.of(begun.action, subject) if outcome == DONE else None
        self.write(
            msgspec.structs.replace(
                begun,
                at_ns=time.time_ns(),
                subject=subject,
                outcome=outcome,
                detail=detail[:_TEXT_MAX],
                became=_json(became or made),
            )
        )

    def write(self, line: AuditLine) -> bool:
        """False: its `once` was begun before."""
        values = msgspec.structs.astuple(line)
        places = ", ".join("?" * len(values))
        try:
            self._database.query(
                f"INSERT INTO console_audit ({_COLUMNS}) VALUES ({places})", *values
            )
        except ConflictError:
            return False
        return True

    def newest(self, query: AuditQuery) -> list[tuple[int, AuditLine]]:
        """With their places, the newest first."""
        asked = {
            "action = ?": query.action,
            "subject = ?": query.subject,
            "seq < ?": query.before,
        }
        asked = {condition: value for condition, value in asked.items() if value is not None}
        where = f" WHERE {' AND '.join(asked)}" if asked else ""
        rows = self._database.query(
            f"SELECT seq, {_COLUMNS} FROM console_audit{where} ORDER BY seq DESC LIMIT ?",
            *asked.values(),
            query.limit,
        )
        fields = AuditLine.__struct_fields__
        return [(row[0], AuditLine(**dict(zip(fields, row[1:], strict=True)))) for row in rows]


def value_of(text: str) -> Any:
    """As it was, unless it was too long to be kept whole."""
    try:
        return msgspec.json.decode(text) if text else None
    except msgspec.DecodeError:
        return text


def _text(name: str, value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, int) and name.endswith(("_at", "_until")):
        return time_text(value * 10**9)
    return str(value)


def _json(value: object) -> str:
    return msgspec.json.encode(value, enc_hook=str).decode()[:_STATE_MAX] if value else ""

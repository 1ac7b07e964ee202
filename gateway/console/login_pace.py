"""How often a wrong admin key may be tried: on all gateways of a ledger together.

Each wrong one is a line of the audit trail, so those of the last minute are counted there. A key of
24 random characters is not found by trying: this keeps the attempts from costing anything.
"""

from __future__ import annotations

from gateway.audit.trail import REFUSED
from metering.database import Database

LOG_IN = "log in"
WRONG_MAX = 10
"""By one address within `WINDOW_NS`."""
WRONG_BY_ALL_MAX = 300
WINDOW_NS = 60 * 10**9


class LoginPace:
    """Thread-safe. Raises LedgerError."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def wait_ns(self, source: str, now_ns: int) -> int:
        """0: it may try. `now_ns` is wall clock."""
        recent = self._database.query(
            "SELECT source, at_ns FROM console_audit"
            f" WHERE action = '{LOG_IN}' AND outcome = '{REFUSED}' AND at_ns > ? AND at_ns <= ?"
            " ORDER BY at_ns DESC LIMIT ?",
            now_ns - WINDOW_NS,
            now_ns,
            WRONG_BY_ALL_MAX,
        )
        everyones = [at_ns for _, at_ns in recent]
        own = [at_ns for by, at_ns in recent if by == source]
        return max(_wait_ns(own, WRONG_MAX, now_ns), _wait_ns(everyones, WRONG_BY_ALL_MAX, now_ns))


def _wait_ns(newest_first: list[int], most: int, now_ns: int) -> int:
    """Until the one that fills the window leaves it."""
    return newest_first[most - 1] + WINDOW_NS - now_ns if len(newest_first) >= most else 0

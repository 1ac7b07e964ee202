"""What was refused to nodes and to whoever says to be one, counted until it is in the audit log."""

from __future__ import annotations

import threading
from collections import Counter

from gateway.enrolment.node import AuditEntry

KINDS_MAX = 100
"""Of sources and reasons told apart between two takings; more are counted together."""


class Refusals:
    """Thread-safe. However many come, the audit log gets at most `KINDS_MAX` rows each time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[tuple[str, str, str]] = Counter()

    def add(self, source: str, reason: str, node_id: str = "") -> None:
        """`source`: the address it came from."""
        kind = (source, reason, node_id)
        with self._lock:
            if len(self._counts) >= KINDS_MAX and kind not in self._counts:
                kind = ("others", reason, "")
            self._counts[kind] += 1

    def take(self, now_ns: int) -> list[AuditEntry]:
        """All since the last time, which are forgotten here."""
        with self._lock:
            counts, self._counts = self._counts, Counter()
        return [
            AuditEntry(
                at_ns=now_ns,
                actor=source,
                action="refused",
                node_id=node_id,
                detail=reason,
                times=times,
            )
            for (source, reason, node_id), times in counts.items()
        ]

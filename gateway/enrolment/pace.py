"""How often a node may speak. Each message is written to the ledger's database, and each that says
something new to the audit log: one node must not keep the books from their work.
"""

from __future__ import annotations

import threading

INTERVAL_NS = 10**9 // 2
"""From one message to the next, in the long run; a node that drains says two a second."""
BURST = 20
_AHEAD_NS_MAX = BURST * INTERVAL_NS


class Pace:
    """Thread-safe. Knows only keys that were `heard`: whoever has none cannot fill it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._next_ns: dict[str, int] = {}

    def allows(self, public_key: str, now_ns: int) -> bool:
        """A clock that was set back silences nobody."""
        with self._lock:
            ahead_ns = self._next_ns.get(public_key, 0) - now_ns
        return not _AHEAD_NS_MAX - INTERVAL_NS < ahead_ns <= _AHEAD_NS_MAX

    def heard(self, public_key: str, now_ns: int) -> None:
        with self._lock:
            next_ns = self._next_ns.get(public_key, 0)
            if not now_ns <= next_ns <= now_ns + _AHEAD_NS_MAX:
                next_ns = now_ns
            self._next_ns[public_key] = next_ns + INTERVAL_NS

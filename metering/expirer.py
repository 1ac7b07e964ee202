"""Releases the holds whose time is over and that nobody resolved."""

from __future__ import annotations

from metering.expiry import expire_group, expires_ns
from metering.ledger import Ledger, PostResult, Transfer

WRITER = "expiry"
"""One chain for whoever does it."""

BATCH_HOLDS = 500


class Expirer:
    """Remembers how far it looked, so that a second look reads only what is new or still open."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._after_seq = 0

    def run(self, now_ns: int) -> list[Transfer]:
        """The holds released by this look, at this time of the wall clock. Raises LedgerError."""
        next_seq = self._ledger.last_seq() + 1
        due: list[tuple[int, Transfer]] = []
        released: list[Transfer] = []
        for seq, hold in self._ledger.open_holds(self._after_seq):
            ends_ns = expires_ns(hold)
            if ends_ns is not None and ends_ns <= now_ns:
                due.append((seq, hold))
            elif ends_ns is not None:
                next_seq = min(next_seq, seq)
        for start in range(0, len(due), BATCH_HOLDS):
            batch = due[start : start + BATCH_HOLDS]
            results = self._ledger.post(WRITER, [expire_group(hold) for _, hold in batch])
            for (seq, hold), result in zip(batch, results, strict=True):
                if result is PostResult.OK:
                    released.append(hold)
                elif result is PostResult.PENDING_NOT_EXPIRED:  # by the clock of the ledger
                    next_seq = min(next_seq, seq)
        self._after_seq = next_seq - 1
        return released

"""Which row of the ledger was the last before a moment, by the times at which they were booked."""

from __future__ import annotations

from metering.database import Database


def last_row(database: Database) -> int:
    """0 for an empty ledger. Raises LedgerError."""
    ((seq,),) = database.query("SELECT coalesce(max(seq), 0) FROM transfer")
    return int(seq)


def row_before(database: Database, at_ns: int) -> int:
    """0 if there is none. By halving, as rows come in the order of time and have no index of it;
    where a clock was set back it is one of several that it could be. Raises LedgerError.
    """
    low, high = 0, last_row(database)
    while low < high:
        middle = (low + high + 1) // 2
        rows = database.query("SELECT booked_ns FROM transfer WHERE seq = ?", middle)
        if rows[0][0] < at_ns:
            low = middle
        else:
            high = middle - 1
    return low

"""What one process at a time does for all who share a ledger, whichever of them lives.

The holder raises a counter. Whoever has seen the same count for `lease_s` of its own clock takes
the lease over, in one statement that only one of them can win. The holder counts on it for
`lease_s` from before it raised the counter, so it stops before another may begin. Nobody's clock is
compared with another's. A process that was suspended may believe for a moment that it still holds
the lease: what is done under it must be safe to be done twice, or written under `keep`.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from metering.database import Database, Session

NOBODY = ""


class LeaseLostError(Exception):
    """Another holds it now."""


class LeaseRow(msgspec.Struct, frozen=True, kw_only=True):
    """Who holds it, since when, and when it was last heard of; by the holder's clock."""

    holder: str
    beat: int
    taken_ns: int
    beat_ns: int


class Lease:
    """For one thread at a time. Methods raise LedgerError if the database cannot answer."""

    def __init__(
        self,
        database: Database,
        name: str,
        holder: str,
        *,
        lease_s: int,
        monotonic_ns: Callable[[], int],
        wall_ns: Callable[[], int],
    ) -> None:
        self._database = database
        self._name = name
        self._holder = holder
        self._lease_ns = lease_s * 1_000_000_000
        self._monotonic_ns = monotonic_ns
        self._wall_ns = wall_ns
        self._until_ns: int | None = None
        self._seen: LeaseRow | None = None
        self._seen_ns = 0

    @property
    def held(self) -> bool:
        """Nobody else may hold it at this moment."""
        return self._until_ns is not None and self._monotonic_ns() < self._until_ns

    def stand(self) -> bool:
        """Keep it, or take it if it is free. To be called several times in `lease_s`."""
        now_ns = self._monotonic_ns()
        row = lease_row(self._database, self._name)
        if row is None:
            won = self._open()
        elif row.holder == self._holder or row.holder == NOBODY or self._silent(row, now_ns):
            won = self._beat(row)
        else:
            won = False
        self._until_ns = now_ns + self._lease_ns if won else None
        return won

    def leave(self) -> None:
        """Let another have it at once."""
        self._until_ns = None
        self._database.note(
            "UPDATE lease SET holder = ?, beat = beat + 1 WHERE name = ? AND holder = ?",
            *(NOBODY, self._name, self._holder),
        )

    def _silent(self, row: LeaseRow, now_ns: int) -> bool:
        """Did its holder not raise the counter for as long as the lease is?"""
        if row != self._seen:
            self._seen, self._seen_ns = row, now_ns
        return now_ns - self._seen_ns >= self._lease_ns

    def _open(self) -> bool:
        wall_ns = self._wall_ns()
        made = self._database.note(
            "INSERT INTO lease (name, holder, beat, taken_ns, beat_ns) VALUES (?, ?, 1, ?, ?)"
            " ON CONFLICT (name) DO NOTHING RETURNING beat",
            *(self._name, self._holder, wall_ns, wall_ns),
        )
        return len(made) == 1

    def _beat(self, row: LeaseRow) -> bool:
        """Raise the counter of the row that was read, if it is still that row."""
        wall_ns = self._wall_ns()
        taken_ns = row.taken_ns if row.holder == self._holder else wall_ns
        raised = self._database.note(
            "UPDATE lease SET holder = ?, beat = beat + 1, taken_ns = ?, beat_ns = ?"
            " WHERE name = ? AND holder = ? AND beat = ? RETURNING beat",
            *(self._holder, taken_ns, wall_ns, self._name, row.holder, row.beat),
        )
        return len(raised) == 1


def keep(session: Session, name: str, holder: str) -> None:
    """Let nobody take the lease before this transaction is over. Raises LeaseLostError."""
    kept = session.query(
        "UPDATE lease SET beat = beat WHERE name = ? AND holder = ? RETURNING beat", name, holder
    )
    if not kept:
        raise LeaseLostError(f"'{holder}' no longer holds the lease '{name}'")


def lease_row(database: Database, name: str) -> LeaseRow | None:
    """None if nobody ever held it. Raises LedgerError."""
    rows = database.query("SELECT holder, beat, taken_ns, beat_ns FROM lease WHERE name = ?", name)
    if not rows:
        return None
    holder, beat, taken_ns, beat_ns = rows[0]
    return LeaseRow(holder=holder, beat=beat, taken_ns=taken_ns, beat_ns=beat_ns)

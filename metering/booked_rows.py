"""The rows of the books read back, a page at a time."""

from __future__ import annotations

from metering.batch import (
    CHARGE_COLUMNS,
    EPOCH_COLUMNS,
    TRANSFER_COLUMNS,
    charge_of,
    epoch_of,
    transfer_of,
)
from metering.charge import ChargeRecord
from metering.database import Session
from metering.ledger import BookedTransfer, EpochRow
from metering.transfer import Transfer

_NEVER_NS = 2**63 - 1


def booked_rows(
    db: Session,
    after_seq: int,
    to_seq: int,
    since_ns: int,
    until_ns: int | None,
    limit: int,
) -> list[BookedTransfer]:
    """The first rows of (after_seq, to_seq] that were booked in [since_ns, until_ns)."""
    rows = db.query(
        f"SELECT seq, booked_ns, writer, hash, {TRANSFER_COLUMNS} FROM transfer"
        " WHERE seq > ? AND seq <= ? AND booked_ns >= ? AND booked_ns < ? ORDER BY seq LIMIT ?",
        *(after_seq, to_seq, since_ns, _NEVER_NS if until_ns is None else until_ns, limit),
    )
    if not rows:
        return []
    settled = _settled(db, rows[0][0], rows[-1][0])
    return [
        BookedTransfer(
            seq=seq,
            booked_ns=booked_ns,
            writer=writer,
            hash=link,
            transfer=transfer_of(facts),
            settles=settled.get(seq),
        )
        for seq, booked_ns, writer, link, *facts in rows
    ]


def open_holds(db: Session, after_seq: int, to_seq: int) -> list[tuple[int, Transfer]]:
    """Those of the rows (after_seq, to_seq]."""
    rows = db.query(
        f"SELECT seq, {TRANSFER_COLUMNS} FROM transfer AS hold"
        " WHERE seq > ? AND seq <= ? AND kind = 'pending' AND NOT EXISTS"
        " (SELECT 1 FROM transfer AS resolution WHERE resolution.pending_id = hold.id)"
        " ORDER BY seq",
        *(after_seq, to_seq),
    )
    return [(seq, transfer_of(facts)) for seq, *facts in rows]


def _settled(db: Session, first_seq: int, last_seq: int) -> dict[int, ChargeRecord | EpochRow]:
    """What the transfers of a range settle, by their seq."""
    within = "WHERE seq BETWEEN ? AND ?"
    bounds = (first_seq, last_seq)
    charges = db.query(f"SELECT seq, {CHARGE_COLUMNS} FROM charge {within}", *bounds)
    found: dict[int, ChargeRecord | EpochRow] = {seq: charge_of(row) for seq, *row in charges}
    epochs = db.query(f"SELECT seq, {EPOCH_COLUMNS} FROM epoch {within}", *bounds)
    found.update({seq: epoch_of(row) for seq, *row in epochs})
    return found

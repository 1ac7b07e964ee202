"""Epochs, their seals and what they are made of, read back from a database."""

from __future__ import annotations

from collections.abc import Iterator

from metering.batch import EPOCH_COLUMNS, epoch_of
from metering.database import Session
from metering.epoch_seal import EpochSeal, PayoutRow, ServedCharge, WriterEnd
from metering.ledger import EpochRow

_PAGE_ROWS = 10_000
_SCAN_ROWS = 20_000
"""Some 50 ms in which nobody else reads through this connection."""

_SEAL_COLUMNS = ", ".join(EpochSeal.__struct_fields__)
_PAYOUT_COLUMNS = ", ".join(PayoutRow.__struct_fields__)
_CHARGE_COLUMNS = ", ".join(f"charge.{name}" for name in ServedCharge.__struct_fields__[2:])


def epoch(db: Session, number: int) -> EpochRow | None:
    rows = db.query(f"SELECT {EPOCH_COLUMNS} FROM epoch WHERE epoch = ?", number)
    return epoch_of(rows[0]) if rows else None


def latest_epoch(db: Session) -> EpochRow | None:
    rows = db.query(f"SELECT {EPOCH_COLUMNS} FROM epoch ORDER BY epoch DESC LIMIT 1")
    return epoch_of(rows[0]) if rows else None


def seals(db: Session, before: int, limit: int) -> list[EpochSeal]:
    """Of the epochs before this one, the newest first."""
    rows = db.query(
        f"SELECT {_SEAL_COLUMNS} FROM epoch_seal WHERE epoch < ? ORDER BY epoch DESC LIMIT ?",
        *(before, limit),
    )
    return [EpochSeal(epoch=row[0], root=row[1], head=row[2], hash=row[3]) for row in rows]


def payouts(db: Session, number: int, after_leaf: int, limit: int) -> Iterator[PayoutRow]:
    """The leaves of an epoch in their order, a page at a time."""
    while limit > 0:
        page = min(limit, _PAGE_ROWS)
        rows = db.query(
            f"SELECT {_PAYOUT_COLUMNS} FROM payout WHERE epoch = ? AND leaf > ?"
            " ORDER BY leaf LIMIT ?",
            *(number, after_leaf, page),
        )
        yield from map(_payout_of, rows)
        if len(rows) < page:
            return
        limit -= page
        after_leaf = rows[-1][1]


def payout(db: Session, number: int, supplier_id: str) -> PayoutRow | None:
    rows = db.query(
        f"SELECT {_PAYOUT_COLUMNS} FROM payout WHERE epoch = ? AND supplier_id = ?",
        *(number, supplier_id),
    )
    return _payout_of(rows[0]) if rows else None


def served_charges(
    db: Session, from_seq: int, to_seq: int, supplier_id: str | None
) -> Iterator[ServedCharge]:
    """The billed charges of (from_seq, to_seq] in their order, of one supplier or of all."""
    of_supplier, supplier = ("<> ?", "") if supplier_id is None else ("= ?", supplier_id)
    while from_seq < to_seq:
        page = (from_seq, min(to_seq, from_seq + _SCAN_ROWS))
        rows = db.query(
            f"SELECT charge.seq, transfer.hash, {_CHARGE_COLUMNS} FROM charge"
            " JOIN transfer ON transfer.seq = charge.seq"
            " WHERE charge.seq > ? AND charge.seq <= ? AND transfer.seq > ? AND transfer.seq <= ?"
            f" AND charge.supplier_id {of_supplier} AND charge.usage_source IS NOT NULL"
            " ORDER BY charge.seq",
            *(*page, *page, supplier),
        )
        for seq, link, *facts in rows:
            yield ServedCharge(seq, link.hex(), *facts)
        from_seq = page[1]


def writer_ends(db: Session, from_seq: int, to_seq: int) -> list[WriterEnd]:
    """Where each writer's chain stood after its last row of (from_seq, to_seq]."""
    rows = db.query(
        "SELECT transfer.writer, transfer.seq, transfer.hash FROM transfer JOIN"
        " (SELECT max(seq) AS seq FROM transfer WHERE seq > ? AND seq <= ? GROUP BY writer) AS ends"
        " ON ends.seq = transfer.seq ORDER BY transfer.writer",
        *(from_seq, to_seq),
    )
    return [WriterEnd(writer=writer, seq=seq, hash=link.hex()) for writer, seq, link in rows]


def _payout_of(row: tuple[object, ...]) -> PayoutRow:
    return PayoutRow(**dict(zip(PayoutRow.__struct_fields__, row, strict=True)))  # type: ignore[arg-type]

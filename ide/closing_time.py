"""When an epoch is over: at the first multiple of its length, in Unix time, after the one before.

Every gateway works it out from the ledger alone, so it does not matter which one looks.
"""

from __future__ import annotations

import msgspec

from ide.commitment import head_of
from metering.ledger import Ledger


class NextEpoch(msgspec.Struct, frozen=True, kw_only=True):
    """The epoch that is open, and when it began: the last one's end, or the first row's booking."""

    epoch: int
    began_ns: int

    def closes_ns(self, epoch_s: int) -> int:
        length_ns = epoch_s * 1_000_000_000
        return (self.began_ns // length_ns + 1) * length_ns


def next_epoch(ledger: Ledger) -> NextEpoch | None:
    """None for a ledger without any row. Reads no epoch's record: those of many suppliers are long.

    Raises LedgerError.
    """
    if seals := ledger.seals():
        head = head_of(seals[0])
        return NextEpoch(epoch=head.epoch + 1, began_ns=head.closed_ns)
    if (last := ledger.latest_epoch()) is not None:
        return NextEpoch(epoch=last.epoch + 1, began_ns=last.created_ns)
    first = next(ledger.booked(to_seq=1), None)
    return None if first is None else NextEpoch(epoch=1, began_ns=first.booked_ns)

"""The newest rows of the books and the balance of all: what can be looked at in a moment.

`verify.py` derives everything anew; this finds what went wrong lately, and sums that are off.
"""

from __future__ import annotations

from collections import Counter

import msgspec

from metering import chain
from metering.accounts import Asset, asset_of
from metering.batch import (
    CHARGE_COLUMNS,
    EPOCH_COLUMNS,
    TRANSFER_COLUMNS,
    charge_of,
    epoch_of,
    transfer_of,
)
from metering.database import Snapshot
from metering.ledger import DamagedError

NEWEST_ROWS = 2000

_COUNTERS = ("debits_posted", "credits_posted", "debits_pending", "credits_pending")


class QuickVerification(msgspec.Struct, frozen=True, kw_only=True):
    rows: int
    """How many of the newest transfers were looked at."""
    last_seq: int
    newest_ns: int
    """When the last of them was booked; 0 if there is none."""
    problem: str | None


def quick_verify(snapshot: Snapshot) -> QuickVerification:
    """Raises LedgerError if the ledger cannot be read at all."""
    ((last_seq,),) = snapshot.rows("SELECT coalesce(max(seq), 0) FROM transfer")
    newest_ns, problem = 0, None
    from_seq = max(0, last_seq - NEWEST_ROWS)
    try:
        newest_ns, problem = _newest(snapshot, from_seq)
        problem = problem or _totals(snapshot)
    except (DamagedError, msgspec.ValidationError) as error:
        problem = str(error)
    return QuickVerification(
        rows=last_seq - from_seq, last_seq=last_seq, newest_ns=newest_ns, problem=problem
    )


def _newest(snapshot: Snapshot, from_seq: int) -> tuple[int, str | None]:
    """When the last row was booked, and what is wrong with those after `from_seq`."""
    after = f"seq > {from_seq}"
    charges = {
        seq: charge_of(facts)
        for seq, *facts in snapshot.rows(f"SELECT seq, {CHARGE_COLUMNS} FROM charge WHERE {after}")
    }
    epochs = {
        seq: epoch_of(facts)
        for seq, *facts in snapshot.rows(f"SELECT seq, {EPOCH_COLUMNS} FROM epoch WHERE {after}")
    }
    ends: dict[str, bytes] = {}
    newest_ns, due_seq = 0, from_seq + 1
    rows = snapshot.rows(
        f"SELECT seq, booked_ns, writer, hash, {TRANSFER_COLUMNS} FROM transfer WHERE {after}"
        " ORDER BY seq"
    )
    for seq, booked_ns, writer, link, *facts in rows:
        if seq != due_seq:
            return newest_ns, f"row {due_seq} is gone"
        due_seq, newest_ns = seq + 1, booked_ns
        transfer = transfer_of(facts)
        before = ends.get(writer)
        if before is not None:
            record = charges.get(seq) or epochs.get(seq)
            if chain.link(before, seq, booked_ns, transfer, record) != link:
                return newest_ns, f"row {seq}, transfer {transfer.id}, was changed"
        ends[writer] = bytes(link)
    for writer, link in snapshot.rows("SELECT id, hash FROM writer"):
        if ends.get(writer, link) != link:
            return newest_ns, f"writer {writer}: its last row is not the end of its chain"
    return newest_ns, None


def _totals(snapshot: Snapshot) -> str | None:
    """Why the books do not add up, if they do not."""
    posted: Counter[Asset] = Counter()
    held: Counter[Asset] = Counter()
    for account, *counters in snapshot.rows(f"SELECT id, {', '.join(_COUNTERS)} FROM account"):
        asset = asset_of(account)
        if asset is None:
            return f"account {account} is none of the chart of accounts"
        posted[asset] += counters[0] - counters[1]
        held[asset] += counters[2] - counters[3]
    for each in posted:
        if posted[each] or held[each]:
            return (
                f"debits and credits of {each} differ by {posted[each]} posted and {held[each]} "
                "held: every transfer has both"
            )
    return None

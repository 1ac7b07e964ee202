"""Rows of the spool made ready for the ledger: the groups it books, and what they change. Pure."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from metering.charge import CloseCharge, OpenCharge, OpenCharges, Row
from metering.legs import parts_of
from metering.posting import close_group, hold_group, whole_group
from metering.purse import drawn
from metering.transfer import Group


class Change(msgspec.Struct, gc=False):
    """What rows do to an account, or to a purse. In nano-USD, or tokens."""

    available: int = 0
    """Added to what it has available."""
    paid: int = 0
    """Taken off its posted balance."""
    released: int = 0
    """What those that end leave of their holds."""


class ReadyRows(msgspec.Struct, frozen=True):
    groups: list[Group]
    changes: dict[str, Change]
    upto_seq: int


def make_ready(
    rows: Iterable[Row], after_seq: int, charges: OpenCharges, untold_seq: int
) -> ReadyRows:
    """The rows that follow `after_seq`, at which these charges are open. Those up to `untold_seq`
    are no change: what a dead gateway left was never reserved by this one.

    A charge that ends in the same rows in which it began is one transfer. Raises AccountError,
    MoneyError.
    """
    groups: list[Group | OpenCharge | None] = []
    begun: dict[str, int] = {}  # in these rows, and where in groups
    changes: dict[str, Change] = {}
    seq = after_seq
    for row in rows:
        seq += 1
        charge = charges.take(row)
        if charge is None:
            continue
        if not isinstance(row, CloseCharge):
            begun[charge.charge_id] = len(groups)
            groups.append(charge)
            if seq > untold_seq:
                change_of(changes, charge.account).available -= charge.hold_nano_usd
            continue
        index = begun.pop(charge.charge_id, None)
        (part, ended), *others = parts_of(charge, row)
        if index is None:
            booked = [close_group(part, ended)]
        else:
            groups[index] = None
            booked = [whole_group(part, ended)]
        booked += [whole_group(*other) for other in others]
        groups += booked
        if seq > untold_seq:
            _count_close(changes, charge, row, booked)
    made = [
        hold_group(each) if isinstance(each, OpenCharge) else each
        for each in groups
        if each is not None
    ]
    return ReadyRows(made, changes, seq)


def change_of(changes: dict[str, Change], name: str) -> Change:
    """The one of this name, made if there is none."""
    found = changes.get(name)
    if found is None:
        found = changes[name] = Change()
    return found


def _count_close(
    changes: dict[str, Change], charge: OpenCharge, close: CloseCharge, booked: list[Group]
) -> None:
    """What its end gives back of its hold, and takes of what its account and purses have."""
    charged = 0
    for group in booked:
        if group.charge is not None:
            charged += group.charge.charged_nano_usd
    released = charge.hold_nano_usd - charged
    change = change_of(changes, charge.account)
    change.available += released
    change.released += released
    change.paid += charged
    for draw in charge.draws:
        took = drawn(draw, close.usage, charged)
        drawn_from = change_of(changes, draw.purse)
        drawn_from.available -= took
        drawn_from.paid += took

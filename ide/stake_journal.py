"""A stake's moves as linked transfers, and a stake out of them. Pure.

    in       io:circulating     -> io:stake:<device>     what its owner or co-staker brought
    out      io:stake:<device>  -> io:circulating        what is free
    slash    io:stake:<device>  -> io:slashed            held for a month
    return   io:slashed         -> io:stake:<device>     an appeal was won
    burn     io:slashed         -> io:burned             none was: a leg of an epoch, `journal.py`

A move is numbered within its device, and its first transfer carries the whole stake as it is
after it. So the ledger alone says what a stake is, a move is booked once, and of two that are made
at once the second is refused. What ends a slash has one id, whichever it is: a burn excludes a
return.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from ide.canonical import canonical_json
from ide.staking import Hold, Stake, StakeError, total_io
from metering import accounts
from metering.transfer import Group, Transfer, TransferKind

CODE_MOVE = "stake"
SLASH_END = "slash-end:"
_EVIDENCE_CHARS = 32
"""Of 64, in the id of a slash: ids have room for 128 characters."""


class Move(StrEnum):
    ADD = "add"
    COSTAKE = "costake"
    COSTAKE_LEAVE = "costake-leave"
    WITHDRAW = "withdraw"
    UNSTAKE = "unstake"
    RELEASE = "release"
    SLASH = "slash"
    APPEAL_WON = "appeal-won"


class Moved(msgspec.Struct, frozen=True, kw_only=True):
    """What a move was, and the stake after it. `paid_io` left it, by account."""

    number: int
    move: Move
    at_ns: int
    paid_io: dict[str, int]
    stake: Stake


class HeldSlash(msgspec.Struct, frozen=True, kw_only=True):
    """What the transfer that took it says of slashed IO."""

    device: str
    account: str
    offence: str
    evidence: str
    burns_ns: int


def stake_group(before: Stake | None, moved: Moved) -> Group:
    """The transfers of a move. Raises AccountError for a device that no account can be named for,
    and StakeError if IO came from nowhere or is lost.
    """
    after, device = moved.stake, moved.stake.device
    account, paid = accounts.stake(device), sum(moved.paid_io.values())
    brought = total_io(after) + paid - (total_io(before) if before else 0)
    if brought < 0 or min(moved.paid_io.values(), default=0) < 0:
        raise StakeError(f"{-brought} base units of {device} would be lost: nothing is booked")
    name = f"{CODE_MOVE}:{device}:{moved.number}"
    detail = canonical_json(moved)
    legs = [_leg(name, accounts.IO_CIRCULATING, account, brought, CODE_MOVE, detail)]
    if paid:
        legs.append(_leg(f"{name}:out", account, accounts.IO_CIRCULATING, paid, "stake-out"))
    held_before = before.holds if before else ()
    for hold, hold_id in _with_ids(after):
        if hold not in held_before:
            said = canonical_json(_said(device, hold))
            legs.append(_leg(hold_id, account, accounts.IO_SLASHED, hold.io, "slash", said))
    for hold, hold_id in _with_ids(before) if before else ():
        if hold not in after.holds and hold.burns_ns > moved.at_ns:
            end = slash_end_id(hold_id)
            legs.append(_leg(end, accounts.IO_SLASHED, account, hold.io, "slash-return"))
    booked = sum(leg.amount if leg.credit == account else -leg.amount for leg in legs)
    if booked != (due := staked_io(after) - (staked_io(before) if before else 0)):
        raise StakeError(f"{device} would change by {due} base units, its account by {booked}")
    return Group(transfers=tuple(legs))


def moved_of(detail: str) -> Moved:
    """Of the `detail` of a move's first transfer."""
    return msgspec.json.decode(detail, type=Moved)


def held_slash_of(detail: str) -> HeldSlash:
    """Of the `detail` of the transfer that took it."""
    return msgspec.json.decode(detail, type=HeldSlash)


def slash_end_id(hold_id: str) -> str:
    """The id of the transfer that ends a hold: its burn, or its return."""
    return SLASH_END + hold_id


def staked_io(stake: Stake) -> int:
    """What the stake's account holds: all of it but what was slashed."""
    return total_io(stake) - stake.burned_io - sum(hold.io for hold in stake.holds)


def _with_ids(stake: Stake) -> list[tuple[Hold, str]]:
    """A slash takes several holds, which come and go together."""
    counts: dict[str, int] = {}
    found = []
    for hold in stake.holds:
        place = counts[hold.evidence] = counts.get(hold.evidence, 0) + 1
        name = f"slash:{stake.device}:{hold.evidence[:_EVIDENCE_CHARS]}:{place}"
        found.append((hold, name))
    return found


def _said(device: str, hold: Hold) -> HeldSlash:
    return HeldSlash(
        device=device,
        account=hold.account,
        offence=hold.offence,
        evidence=hold.evidence,
        burns_ns=hold.burns_ns,
    )


def _leg(name: str, debit: str, credit: str, amount: int, code: str, detail: str = "") -> Transfer:
    return Transfer(
        id=name,
        kind=TransferKind.SINGLE,
        debit=debit,
        credit=credit,
        amount=amount,
        code=code,
        detail=detail,
    )

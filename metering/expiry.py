"""When a hold that nobody resolved may be released, and the transfer that does it. Pure.

A gateway whose disk is lost for good never says how its charges ended. Their holds say themselves
how long they stand; after that anyone may book the `expire` transfer that frees them. Its id is
made of the hold's, so whoever comes second finds it booked.
"""

from __future__ import annotations

import msgspec

from metering.transfer import Group, Transfer, TransferKind

CODE_EXPIRE = "expire"


class _Expiry(msgspec.Struct, frozen=True):
    expires_ns: int


_decode = msgspec.json.Decoder(_Expiry).decode


def expiry_detail(expires_ns: int) -> str:
    """The `detail` of a hold that may be released from then on (wall clock)."""
    return f'{{"expires_ns":{expires_ns}}}'


def expires_ns(pending: Transfer) -> int | None:
    """None: it stands until it is posted or voided."""
    try:
        return _decode(pending.detail).expires_ns
    except msgspec.DecodeError:
        return None


def expire_group(pending: Transfer) -> Group:
    """What frees a hold whose time is over."""
    expire = Transfer(
        id=f"expire:{pending.id}",
        kind=TransferKind.EXPIRE,
        amount=0,
        code=CODE_EXPIRE,
        pending_id=pending.id,
    )
    return Group(transfers=(expire,))

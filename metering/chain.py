"""The hash chain of a writer: each transfer's hash covers the one before it and all of its facts.

    link = sha256(link before || JSON array of the transfer's fields and what was booked with it)

Anyone can recompute it from the columns of the tables. The first link of a chain covers GENESIS.
"""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from metering.transfer import Transfer

GENESIS = bytes(32)

_encode = msgspec.json.Encoder().encode


def link(
    before: bytes,
    seq: int,
    booked_ns: int,
    transfer: Transfer,
    record: msgspec.Struct | None = None,
) -> bytes:
    """The 32 bytes of the next link. `record` is the charge or epoch that the transfer settles."""
    facts: tuple[Any, ...] = (
        seq,
        booked_ns,
        transfer.id,
        transfer.kind,
        transfer.debit,
        transfer.credit,
        transfer.amount,
        transfer.code,
        transfer.pending_id,
        transfer.detail,
    )
    if record is not None:
        facts += msgspec.structs.astuple(record)
    return hashlib.sha256(before + _encode(facts)).digest()

"""The hash chain of a writer: each transfer's hash covers the one before it and all of its facts.

    link = sha256(link before || JSON of [seq, booked_ns, transfer, what it settles or null])

Structs are objects with their fields in the order of the tables' columns, without any spaces, so
anyone can recompute it from the tables. The first link of a chain covers GENESIS.
"""

from __future__ import annotations

import hashlib

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
    facts = _encode((seq, booked_ns, transfer, record))
    return hashlib.sha256(before + facts).digest()

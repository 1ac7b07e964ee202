"""Identifiers and wall-clock time: the gateway's only source of both, so tests can fix them."""

from __future__ import annotations

import random
import secrets
import time


class Ids:
    """Request ids (the client's to quote) and charge ids (ours, never the client's).

    They must be unique, not secret: a generator seeded once saves a system call for each.
    """

    def __init__(self) -> None:
        self._bits = random.Random(secrets.randbits(256)).getrandbits

    now_ns = staticmethod(time.time_ns)
    """Wall clock, nanoseconds since 1970 UTC."""

    def request_id(self) -> str:
        return f"req_{self._bits(96):024x}"

    def charge_id(self, now_ns: int) -> str:
        """A UUIDv7 (RFC 9562) in hex: time first, so that charges sort by their beginning."""
        millis = now_ns // 1_000_000
        version, variant = 0x7 << 76, 0x2 << 62
        tail = version | self._bits(12) << 64 | variant | self._bits(62)
        return f"{millis << 80 | tail:032x}"

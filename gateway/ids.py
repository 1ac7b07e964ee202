"""Identifiers and wall-clock time: the gateway's only source of both, so tests can fix them."""

from __future__ import annotations

import secrets
import time


class Ids:
    """Request ids (the client's to quote) and charge ids (ours, never the client's)."""

    def now_ns(self) -> int:
        """Wall clock, nanoseconds since 1970 UTC."""
        return time.time_ns()

    def request_id(self) -> str:
        return "req_" + secrets.token_hex(12)

    def charge_id(self) -> str:
        """A UUIDv7 (RFC 9562) in hex: time first, so that charges sort by their beginning."""
        millis = time.time_ns() // 1_000_000
        tail = int.from_bytes(secrets.token_bytes(10), "big")
        tail = (tail & ~(0xF << 76)) | (0x7 << 76)  # version 7
        tail = (tail & ~(0x3 << 62)) | (0x2 << 62)  # variant 10
        return f"{(millis << 80) | tail:032x}"

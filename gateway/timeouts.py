"""How long who is waited for. Pure."""

from __future__ import annotations

import msgspec

BODY_NS_PER_BYTE = 1_000_000_000 // (16 * 1024)
"""Each byte of a body earns this much more time for the rest: 16 KiB/s, once the first patience is
used up, is the slowest sender that is waited for.
"""

NEVER_NS = 2**63

LINGER_NS = 5_000_000_000
"""How long a client has to read why its connection is ended."""
FAREWELL_NS = 500_000_000
"""A gateway that stops leaves an idle connection open for so long: a request may be on its way."""


class Timeouts(msgspec.Struct, frozen=True, kw_only=True):
    """Patience with a node, and with a client that stops reading."""

    first_byte_ns: int = 300_000_000_000
    idle_ns: int = 60_000_000_000
    client_stall_ns: int = 120_000_000_000
    keep_alive_ns: int = 0
    """After so long without a byte for it, the client of a stream is sent a comment; 0: never."""


class ClientTimeouts(msgspec.Struct, frozen=True, kw_only=True):
    """Patience with the client of a connection."""

    head_ns: int
    """From the first byte of a head to its last."""
    body_ns: int
    """For a body of which nothing comes."""
    idle_ns: int
    """Between requests."""
    stall_ns: int
    """For a client that takes nothing of its answer."""

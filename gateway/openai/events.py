"""Server-sent events of a chat stream, cut out of its bytes. Pure."""

from __future__ import annotations

from collections.abc import Iterator

COMMENT = b": keep-alive\n\n"
"""Tells whoever waits that somebody is there."""


class EventReader:
    """Feed it the bytes as they come."""

    __slots__ = ("_partial",)

    def __init__(self) -> None:
        self._partial = b""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The data of each event that is whole now; of a comment nothing, b""."""
        *events, self._partial = (self._partial + data).split(b"\n\n")
        for event in events:
            if event.startswith(b"data: "):
                yield event[6:]
            elif event.startswith(b":"):
                yield b""

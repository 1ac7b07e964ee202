"""The shape of an answer, written into the prompt so that any gateway carries it to the node. Pure.

    [128 events, 20 ms apart]      or      [2 events, 0 ms apart, then silence]

A request without these words is answered whole, in JSON.
"""

from __future__ import annotations

import re

import msgspec

_WORDS = re.compile(rb"\[(\d+) events, ([\d.]+) ms apart(, then silence)?\]")


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """A stream of so many events. The first tells the role; every other one is worth one token."""

    events: int
    apart_ms: float = 0
    """0: one event for each turn of the node's event loop."""
    then_silence: bool = False
    """After these events the stream stays open and nothing more comes."""

    @property
    def tokens(self) -> int:
        return tokens_of(self.events)

    def words(self) -> str:
        silence = ", then silence" if self.then_silence else ""
        return f"[{self.events} events, {self.apart_ms:g} ms apart{silence}]"

    @classmethod
    def read(cls, body: bytes) -> Shape:
        """The shape that a request's body asks for. Raises ValueError if it names none."""
        found = _WORDS.search(body)
        if found is None:
            raise ValueError("the prompt names no shape; see tests/bench/shape.py")
        events, apart_ms, silence = found.groups()
        return cls(events=int(events), apart_ms=float(apart_ms), then_silence=silence is not None)


def tokens_of(events: int) -> int:
    """Completion tokens that a stream has brought after this many events."""
    return max(events - 1, 0)

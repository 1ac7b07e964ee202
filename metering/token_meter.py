"""A stream's meter that also keeps the ids of its tokens: with them another node can go on.

A vLLM that is asked for them (`return_token_ids`) puts a prompt's ids into the first event and the
others' own into each. None is passed on: the client sees `null`, as it would have without asking.
As for usage, the cut looks for bytes: inside a JSON string every quote is escaped.
"""

from __future__ import annotations

from collections import deque

from metering.stream_meter import MalformedStreamError, StreamMeter

RECENT_EVENTS = 8
"""Kept to find out where the text that was passed on ends: more tokens than a character has."""

_RUNNING = b',"usage":{'
_IDS = b'"token_ids":['
_PROMPT_IDS = b'"prompt_token_ids":['


class TokenMeter(StreamMeter):
    """For answers of one choice."""

    __slots__ = ("first", "ids", "prompt_ids", "recent")

    def __init__(self, *, keep_closing: bool, keep_running: bool = False) -> None:
        super().__init__(keep_closing=keep_closing, keep_running=keep_running)
        self.prompt_ids = b""
        """As they came, between commas; empty until they did."""
        self.first = b""
        """The event that they came with, as it was passed on."""
        self.ids = bytearray()
        """The same of the answer, with a `]` behind those of each event."""
        self.recent: deque[bytes] = deque(maxlen=RECENT_EVENTS)
        """The last events with ids, as they were passed on."""

    def _event(self, event: bytes) -> bytes:
        """Nearly every event has its ids before its usage: both are cut in one go."""
        start = event.find(_RUNNING)
        at = event.rfind(_IDS, 0, start)
        end = event.find(b"]", at, start) + 1
        usage_end = event.find(b"}", start) + 1
        plain = at > 0 < end and event.find(b"{", start + 10, usage_end) < 0
        if not plain or start < 0 or self.ended or self._keep_running or not self.prompt_ids:
            return self._unlike(super()._event(event))
        self._running[0] = event[start + 9 : usage_end]
        self.events += 1
        self.ids += event[at + 13 : end]
        passed = event[: at + 12] + b"null" + event[end:start] + event[usage_end:]
        self.recent.append(passed)
        return passed

    def _unlike(self, passed: bytes) -> bytes:
        """Of another event, whose usage is cut already."""
        at = passed.rfind(_IDS)
        if at < 0:
            return passed if self.prompt_ids else self._prompt_cut(passed)
        end = passed.find(b"]", at) + 1
        if not end:
            raise MalformedStreamError("an event ends within its token ids")
        self.ids += passed[at + 13 : end]
        passed = passed[: at + 12] + b"null" + passed[end:]
        if not self.prompt_ids:
            passed = self._prompt_cut(passed)
        self.recent.append(passed)
        return passed

    def _prompt_cut(self, event: bytes) -> bytes:
        at = event.find(_PROMPT_IDS)
        if at < 0:
            return event
        at += len(_PROMPT_IDS)
        end = event.find(b"]", at)
        if end < 0:
            raise MalformedStreamError("an event ends within its prompt's token ids")
        self.prompt_ids = event[at:end]
        self.first = event[: at - 1] + b"null" + event[end + 1 :]
        return self.first

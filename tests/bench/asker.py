"""A keep-alive connection that asks, and tells its owner when events and answers come.

A few microseconds an answer: the gateway must be the bottleneck, not what measures it. So it takes
for granted what every gateway here does: a content-length or chunks, `\\r\\n` line ends.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from typing import Protocol

from .shape import Shape

_BODY_BYTES = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_EVENT = b"data: {"
_KEPT = len(_EVENT) - 1
_LAST_CHUNK = b"0\r\n\r\n"


class Owner(Protocol):
    """`now_s` is the time of the read, by `time.perf_counter`."""

    def events(self, asker: Asker, count: int, now_s: float) -> None: ...

    def answered(self, asker: Asker, now_s: float) -> None:
        """The answer is whole; `asker.good` tells whether it is a good one."""

    def lost(self, asker: Asker) -> None:
        """The connection ended; `asker.busy` tells whether an answer was still expected."""


class Asker(asyncio.Protocol):
    """One request at a time."""

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self.transport: asyncio.Transport | None = None
        self.busy = False
        self.good = False
        """The status was 200."""
        self.status = b""
        self.asked_s = 0.0
        self.due_s = 0.0
        """Open loop: when it should have been asked."""
        self.core_wait_s: tuple[float, ...] = ()
        """Flood: `CoreWait.seconds` when it asked."""
        self.heard_s = 0.0
        """The last event; 0 before the first."""
        self.heard_events = 0
        self._in_head = True
        self._body_left: int | None = None
        """None: the body comes in chunks."""
        self._rest = b""
        """Of the head while it is not whole, then of what may be an event cut in two."""

    def ask(self, request: bytes) -> None:
        assert self.transport is not None, "not connected"
        self.busy = self._in_head = True
        self.heard_events, self.heard_s, self._rest = 0, 0.0, b""
        self.asked_s = time.perf_counter()
        self.transport.write(request)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        self._owner.lost(self)

    def data_received(self, data: bytes) -> None:
        now_s = time.perf_counter()
        if self._in_head:
            data = self._rest + data
            end = data.find(b"\r\n\r\n")
            if end < 0:
                self._rest = data
                return
            self._in_head, self._rest = False, b""
            self.status = data[9:12]
            self.good = self.status == b"200"
            found = _BODY_BYTES.search(data, 0, end + 2)
            self._body_left = None if found is None else int(found[1])
            data = data[end + 4 :]
        if self._body_left is None:
            self._stream(data, now_s)
            return
        self._body_left -= len(data)
        if self._body_left <= 0:
            self._answered(now_s)

    def _stream(self, data: bytes, now_s: float) -> None:
        data = self._rest + data
        self._rest = data[-_KEPT:]
        count = data.count(_EVENT)
        if count:
            self._owner.events(self, count, now_s)
            self.heard_events += count
            self.heard_s = now_s
        if self._rest.endswith(_LAST_CHUNK):
            self._answered(now_s)

    def _answered(self, now_s: float) -> None:
        self.busy = False
        self._owner.answered(self, now_s)


def request(
    port: int, path: str, headers: tuple[str, ...], model: str, shape: Shape | None
) -> bytes:
    """The bytes of a chat request: for a stream of this shape, or for one whole answer."""
    said = "Say something about foxes." if shape is None else f"Say it {shape.words()}."
    body: dict[str, object] = {
        "model": model,
        "messages": [
            {"role": "system", "content": "You are a helpful assistant."},
            {"role": "user", "content": said},
        ],
        "temperature": 0.7,
        "max_tokens": 140 if shape is None else shape.tokens,
    }
    if shape is not None:
        body["stream"] = True
    encoded = json.dumps(body).encode()
    extra = "".join(f"{header}\r\n" for header in headers)
    head = (
        f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\naccept: */*\r\nuser-agent: bench\r\n"
        f"content-type: application/json\r\n{extra}content-length: {len(encoded)}\r\n\r\n"
    )
    return head.encode() + encoded

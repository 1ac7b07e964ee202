"""One connection to a node, its answers parsed by llhttp.

A node is believed only what HTTP lets it say. Two lengths for one answer, a head or trailer without
end, bytes after the end: each ends the connection, and it is reused only after an answer that ended
exactly where it said it would.
"""

from __future__ import annotations

import asyncio
from enum import Enum, auto
from typing import Protocol, cast

import httptools

from router.types import Termination

HEAD_BYTES_MAX = 64 * 1024
"""Bytes in a row that are no body: a head with the interim ones before it, trailers, extensions."""


class NodeListener(Protocol):
    """Who wants to hear what a node answers. After `node_end` or `node_failed` nothing comes."""

    def node_head(self, status: int) -> None: ...

    def node_body(self, data: bytes) -> None: ...

    def node_end(self) -> None: ...

    def node_failed(self, termination: Termination) -> None: ...


class Calling(Protocol):
    """The call that a connection serves."""

    listener: NodeListener | None

    def ended(self) -> None: ...

    def lost(self, *, answered: bool) -> None: ...


class Pool(Protocol):
    """Where a connection belongs."""

    def give_back(self, connection: NodeConnection) -> None: ...

    def forget(self, connection: NodeConnection) -> None: ...


class _Stage(Enum):
    HEAD = auto()
    BODY = auto()
    COMPLETE = auto()


_HEAD, _BODY, _COMPLETE = _Stage


class NodeConnection(asyncio.Protocol):
    """Serves one call at a time. What the parser finds in one read is told in one go, so that many
    events that came together cost as much as one.
    """

    __slots__ = (
        "_call",
        "_head",
        "_interims",
        "_overhead",
        "_parser",
        "_paused",
        "_pieces",
        "_pool",
        "_spent",
        "_stage",
        "_transport",
        "_until_close",
        "on_body",
    )

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._transport: asyncio.Transport | None = None
        self._call: Calling | None = None
        self._stage = _HEAD
        self._head = b""  # what came of the head; empty once it is in
        self._interims = 0
        self._overhead = 0  # bytes since the last one of a body
        self._spent = False  # not to be used again
        self._until_close = False
        self._paused = False
        self._pieces: list[bytes] = []
        self.on_body = self._pieces.append  # for the parser: no frame of Python for a chunk
        self._parser = httptools.HttpResponseParser(self)

    def send(self, call: Calling, request: bytes) -> None:
        assert self._call is None, "a connection serves one call at a time"
        self._call = call
        self._stage = _HEAD
        self._overhead = self._interims = 0
        if self._transport is None:  # lost since it was connected
            self._lose(answered=False)
        else:
            self._transport.write(request)

    def close(self) -> None:
        """Cut the connection; its call hears nothing more."""
        self._call = None
        if self._transport is not None:
            self._transport.abort()

    def pause_reading(self) -> None:
        if not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        if self._paused and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()

    # -- asyncio.Protocol -------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        call, stage = self._call, self._stage
        if call is None:
            self.close()  # an answer that nobody asked for
            return
        if stage is _HEAD:
            self._head += data
        try:
            self._parser.feed_data(data)
            sane = True
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            sane = self._stage is _COMPLETE
            self._spent = True
        listener = call.listener
        if stage is _HEAD and self._stage is not _HEAD and listener is not None:
            listener.node_head(self._parser.get_status_code())
        pieces = self._pieces
        if pieces:
            self._overhead = 0
            body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
            pieces.clear()
            if listener is not None:
                listener.node_body(body)
        else:
            self._overhead += len(data)
            sane = sane and self._overhead <= HEAD_BYTES_MAX
        if self._call is not call:
            return  # the listener hung up
        if not sane:
            self._lose(answered=True)
        elif self._stage is _COMPLETE:
            self._finish()

    def eof_received(self) -> None:
        if self._call is not None and self._stage is _BODY and self._until_close:
            self._finish()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._pool.forget(self)
        if self._call is not None:
            self._lose(answered=self._stage is _BODY or bool(self._head))
        del self._parser, self.on_body  # they refer to this object, and it to them

    def _finish(self) -> None:
        """The answer is whole. The connection goes back if nothing is left on it either way."""
        call, self._call = self._call, None
        assert call is not None
        transport = self._transport
        if transport is not None:
            if not self._spent and not transport.get_write_buffer_size():
                if self._paused:
                    self.resume_reading()
                self._pool.give_back(self)
            else:
                transport.close()
        call.ended()

    def _lose(self, *, answered: bool) -> None:
        call = self._call
        assert call is not None
        self.close()
        call.lost(answered=answered)

    # -- httptools callbacks ----------------------------------------------------------------------

    def on_message_begin(self) -> None:
        if self._stage is _COMPLETE:
            raise httptools.HttpParserError("an answer that nobody asked for")

    def on_headers_complete(self) -> None:
        if self._parser.get_status_code() < 200:
            self._interims += 1
            return
        head = self._head
        old = (self._interims or not head.startswith(b"HTTP/1.1 ")) and b"HTTP/1.0 " in head
        if old or not self._parser.should_keep_alive():
            self._spent = True  # an HTTP/1.0 that keeps alive may not know what it does with chunks
            self._until_close = self._ends_with_connection()
        self._stage = _BODY
        self._head = b""

    def _ends_with_connection(self) -> bool:
        """Of an answer that is the last one. Raises HttpParserError for one coded in a way that we
        do not know: llhttp would take its framing for its text.
        """
        head = self._head.lstrip(b"\r\n")
        for _ in range(self._interims):
            head = head.partition(b"\r\n\r\n")[2].lstrip(b"\r\n")
        lines = head.partition(b"\r\n\r\n")[0].lower().split(b"\r\n")
        codings = [line[18:].strip() for line in lines if line.startswith(b"transfer-encoding:")]
        if any(coding != b"chunked" for coding in codings):
            raise httptools.HttpParserError(f"transfer-encoding {codings}")
        return not codings and not any(line.startswith(b"content-length:") for line in lines)

    def on_message_complete(self) -> None:
        if self._stage is _BODY:
            self._stage = _COMPLETE

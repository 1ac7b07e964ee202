"""One client connection: requests cut out of its bytes, answered one at a time and in order.

    stage     waits for                         then
    HEAD      a whole head (or the idle limit)  BODY, or ANSWER if the body is here already
    BODY      the rest of the body              ANSWER
    ANSWER    the answer to be written          HEAD, or an end
    LINGER    the client to read our last word  CLOSED
    CLOSED    what is written to be sent        -

A request that comes before the one ahead of it is answered stays unparsed, and beyond
AHEAD_BYTES_MAX of them the socket is not read. Every stage has a deadline, kept as one number for
the sweep to compare: no timer is made for a request.

The body's length is known or its chunks are parsed before a byte of it is used, so that where one
request ends and the next begins is never a guess: where it is not certain, the connection ends.
"""

from __future__ import annotations

import asyncio
from enum import Enum, auto
from typing import cast

from uvicorn.protocols.http.flow_control import FlowControl

from gateway import errors
from gateway.admission.keyring import Caller
from gateway.client.answer import error_answer
from gateway.client.body import ChunkedBody
from gateway.client.head import HEAD_BYTES_MAX, Head, head_like, judge_partial, read_head
from gateway.client.listener import Listener
from gateway.client.request import Request
from gateway.errors import ApiError
from gateway.timeouts import (
    BODY_NS_PER_BYTE,
    FAREWELL_NS,
    LINGER_NS,
    NEVER_NS,
)

WRITE_BUFFER_BYTES_HIGH = 256 * 1024
WRITE_BUFFER_BYTES_LOW = 64 * 1024
AHEAD_BYTES_MAX = 64 * 1024
"""Of requests behind the one that is being answered; one read may go beyond it."""

_CARRIAGE_RETURN = 13


class Stage(Enum):
    HEAD = auto()
    BODY = auto()
    ANSWER = auto()
    LINGER = auto()
    CLOSED = auto()


_HEAD, _BODY, _ANSWER, _LINGER, _CLOSED = Stage


class ClientConnection(asyncio.Protocol):
    """What uvicorn makes for each connection that it accepts."""

    __slots__ = (
        "_begun",
        "_body_bytes_max",
        "_chunked",
        "_held",
        "_last",
        "_listener",
        "_loop",
        "_missing",
        "_received",
        "_stage",
        "_unsent",
        "_write_paused",
        "awaits_continue",
        "caller",
        "deadline_ns",
        "flow",
        "keep_alive",
        "origin",
        "request",
        "transport",
    )

    transport: asyncio.Transport
    flow: FlowControl

    def __init__(
        self, listener: Listener[ClientConnection], loop: asyncio.AbstractEventLoop
    ) -> None:
        self.request: Request | None = None
        self.keep_alive = True
        self.origin = b""
        self.awaits_continue = False
        """The client sends the body only when it is told to."""
        self.caller: Caller | None = None  # who asked last
        self._last: Head | None = None  # what was said of that request
        self.deadline_ns = NEVER_NS
        self._listener = listener
        self._loop = loop
        self._stage = _HEAD
        self._begun = False  # a part of a head is here
        self._held = b""  # bytes not parsed yet
        self._missing = 0  # bytes of the body to come, unless it is chunked
        self._body_bytes_max = 0
        self._chunked: ChunkedBody | None = None
        self._received = 0
        self._write_paused = False
        self._unsent = 0

    # -- asyncio.Protocol -------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(WRITE_BUFFER_BYTES_HIGH, WRITE_BUFFER_BYTES_LOW)
        self.flow = FlowControl(self.transport)
        self.deadline_ns = self._listener.now_ns + self._listener.timeouts.head_ns
        self._listener.opened(self)

    def data_received(self, data: bytes) -> None:
        stage = self._stage
        if stage is _HEAD and not self._write_paused:
            if self._held:
                data, self._held = self._held + data, b""
            self._next(data)
        elif stage is _BODY:
            self._body(data)
        elif stage is _ANSWER or stage is _HEAD:
            self._hold(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stage = _CLOSED
        self.deadline_ns = NEVER_NS
        self._held = b""
        self._listener.closed(self)
        request, self.request = self.request, None
        if request is not None:
            request.lost()
        self.flow.resume_writing()

    def pause_writing(self) -> None:
        self._write_paused = True
        self._await_flush(self._listener.timeouts.stall_ns)
        self.flow.pause_writing()
        if self.request is not None:
            self.request.pause()

    def resume_writing(self) -> None:
        self._write_paused = False
        if self._stage is _ANSWER:
            self.deadline_ns = NEVER_NS
        elif self._stage is _HEAD:
            self._idle()
        self.flow.resume_writing()
        if self.request is not None:
            self.request.resume()

    # -- uvicorn's server, the sweep --------------------------------------------------------------

    def leave(self) -> None:
        """The gateway goes: the answer under way, or the next one, is the last here."""
        self.keep_alive = False
        if self.request is not None:
            self.request.is_last()

    def shutdown(self) -> None:
        """The gateway drains: a busy connection closes after its answer, an idle one in a moment,
        for a request may be on its way.
        """
        self.leave()
        if self._stage is _HEAD and not self._begun:
            self.deadline_ns = min(self.deadline_ns, self._listener.now_ns + FAREWELL_NS)

    def expired(self, now_ns: int) -> None:
        """The deadline passed. Whoever still takes our bytes, however slowly, gets more time."""
        unsent = self.transport.get_write_buffer_size()
        if 0 < unsent < self._unsent:
            self._unsent = unsent
            self.deadline_ns = now_ns + self._listener.timeouts.stall_ns
        elif self._write_paused or self._stage in (_LINGER, _CLOSED):
            self.deadline_ns = NEVER_NS
            self.transport.abort()
        elif self._stage is _BODY:
            self._cut_off(errors.too_slow("body"))
        elif self._begun:
            self.refuse(errors.too_slow("head"))
        else:
            self._close()

    @property
    def held_bytes(self) -> int:
        """Of requests that wait for their turn."""
        return len(self._held)

    # -- for requests; to uvicorn's cycle this is the transport -----------------------------------

    def write(self, data: bytes) -> None:
        self.transport.write(data)

    def read_on(self) -> None:
        """Read more of the client, unless enough of it waits for its turn."""
        if len(self._held) <= AHEAD_BYTES_MAX:
            self.flow.resume_reading()

    def is_closing(self) -> bool:
        return self._stage is _CLOSED or self.transport.is_closing()

    def close(self) -> None:
        """End the connection, in order: what was written is sent, and can be read."""
        if self._stage is _ANSWER and not self._held:
            self._close()
        elif self._stage not in (_LINGER, _CLOSED):
            self._linger()

    def answered(self) -> None:
        """The answer is written: on to the next request."""
        self.request = None
        if not self.keep_alive:
            self.close()
        elif self._stage is _ANSWER:
            self._idle()

    def refuse(self, error: ApiError, endpoint: str = "none", request_id: str = "") -> None:
        """Answer an error; the connection ends if the request was not read to its end."""
        listener = self._listener
        error.request_id = request_id = request_id or listener.new_request_id()
        listener.refused(endpoint, error)
        whole = self._stage is _ANSWER
        self.keep_alive = self.keep_alive and whole
        headers = listener.cors(self.origin) if self.origin else ()
        self.transport.write(error_answer(error, request_id, headers, keep_alive=self.keep_alive))
        self.answered()

    # -- reading ----------------------------------------------------------------------------------

    def _next(self, data: bytes) -> None:
        """A request begins with these bytes, and may be whole."""
        head_bytes = data.find(b"\r\n\r\n") + 4
        if head_bytes == 3 or head_bytes > HEAD_BYTES_MAX or data[0] <= _CARRIAGE_RETURN:
            self._partial(data)
            return
        raw, head = data[:head_bytes], None
        if self._last is not None:
            head = head_like(self._last, raw)
        if head is None:
            try:
                head = self._last = read_head(raw)
            except ApiError as error:
                self.refuse(error)
                return
        self._begun = False
        self.origin = head.origin
        self.keep_alive = self.keep_alive and head.keep_alive
        if head.body_bytes is None or head_bytes + head.body_bytes > len(data):
            self._begin_body(head, data[head_bytes:])
            return
        if head.body_bytes > self._listener.body_bytes_max:
            self.refuse(errors.body_too_large(self._listener.body_bytes_max))
            return
        self._stage = _ANSWER
        self.deadline_ns = NEVER_NS
        end = head_bytes + head.body_bytes
        if end != len(data):
            self._hold(data[end:])
            data = data[:end]
        self._listener.begin(self, head, data[head_bytes:])

    def _partial(self, data: bytes) -> None:
        """A head that is not whole, or is none. Empty lines before it are ignored."""
        trimmed = data.lstrip(b"\r\n")
        if len(trimmed) < len(data) and trimmed:
            self._next(trimmed)
            return
        try:
            judge_partial(data)
        except ApiError as error:
            self.refuse(error)
            return
        self._held = trimmed
        if trimmed and not self._begun:
            self._begun = True
            self.deadline_ns = self._listener.now_ns + self._listener.timeouts.head_ns

    def _begin_body(self, head: Head, data: bytes) -> None:
        """The body is not whole yet; `data` is the beginning of it."""
        self._body_bytes_max = self._listener.body_bytes_max_of(head)
        if head.body_bytes is None:
            self._chunked = ChunkedBody()
        elif head.body_bytes > self._body_bytes_max:
            self.refuse(errors.body_too_large(self._body_bytes_max))
            return
        else:
            self._missing = head.body_bytes
        self._stage = _BODY
        self._received = 0
        self.awaits_continue = head.expects_continue and not data
        self.deadline_ns = self._listener.now_ns + self._listener.timeouts.body_ns
        self._listener.begin(self, head, None)
        if data and self._stage is _BODY:
            self._body(data)

    def _body(self, data: bytes) -> None:
        try:
            data, complete = self._cut_body(data)
        except ApiError as error:
            self._cut_off(error)
            return
        self.awaits_continue = False
        self._received += len(data)
        self.deadline_ns += len(data) * BODY_NS_PER_BYTE
        if self._received > self._body_bytes_max:
            self._cut_off(errors.body_too_large(self._body_bytes_max))
            return
        if complete:
            self._chunked = None
            self._stage = _ANSWER
            self.deadline_ns = NEVER_NS
        if self.request is not None:
            self.request.body(data, complete)
        elif complete:  # it was answered before it was whole
            self._idle()

    def _cut_body(self, data: bytes) -> tuple[bytes, bool]:
        """What of these bytes is of the body, and whether that is its end. Raises ApiError."""
        if self._chunked is not None:
            data = self._chunked.feed(data)
            if self._chunked.overrun:
                self.keep_alive = False
            return data, self._chunked.complete
        self._missing -= len(data)
        if self._missing < 0:
            self._hold(data[self._missing :])
            data = data[: self._missing]
        return data, self._missing <= 0

    def _hold(self, data: bytes) -> None:
        """Keep what is behind the request that is being answered."""
        self._held += data
        if len(self._held) > AHEAD_BYTES_MAX:
            self.flow.pause_reading()

    def _idle(self) -> None:
        """Ready for the next request, once the client has read the answers that it has."""
        self._stage = _HEAD
        if self._write_paused:
            self._await_flush(self._listener.timeouts.stall_ns)
            return
        listener = self._listener
        self.deadline_ns = listener.now_ns + listener.timeouts.idle_ns
        if self.flow.read_paused:
            self.read_on()
        if self._held:
            self._loop.call_soon(self._go_on)  # not at once: a long pipeline would be a deep stack

    def _go_on(self) -> None:
        if self._stage is _HEAD and self._held and not self._write_paused:
            data, self._held = self._held, b""
            self.read_on()
            self._next(data)

    # -- ending -----------------------------------------------------------------------------------

    def _cut_off(self, error: ApiError) -> None:
        """Stop reading a request in the middle of its body."""
        request, self.request = self.request, None
        if request is None or request.answering:
            self.keep_alive = False
            self.close()
        else:
            self.refuse(error)
        if request is not None:
            request.lost()

    def _linger(self) -> None:
        """Say that nothing more comes, and throw away what does until the client has read that:
        closing at once would reset the connection and take the answer from it.
        """
        self._stage = _LINGER
        self._held = b""
        self.flow.resume_reading()
        self._await_flush(LINGER_NS)
        if self.transport.can_write_eof():
            self.transport.write_eof()
        else:
            self._close()

    def _close(self) -> None:
        self._stage = _CLOSED
        self._await_flush(self._listener.timeouts.stall_ns)
        self.transport.close()

    def _await_flush(self, patience_ns: int) -> None:
        self._unsent = self.transport.get_write_buffer_size()
        self.deadline_ns = self._listener.now_ns + patience_ns

"""The protocol driver: inference requests straight off the transport, for uvicorn.

`uvicorn.Config(http=protocol_class(...))`. It is uvicorn's own httptools protocol, except that a
POST to an inference route makes no ASGI scope, task or coroutine: its bytes go from the parser into
the exchange and from the exchange to the transport. To uvicorn the request is one more of its
cycles (`Intake` has the attributes of one), so keep-alive, pipelining and graceful shutdown stay
uvicorn's; a request that is pipelined behind another is served by the ASGI driver.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from gateway import errors
from gateway.actions import Action, Respond
from gateway.admission import Admission, Pending, settled
from gateway.driver import Driver
from gateway.errors import ApiError
from gateway.exchange import Exchange
from gateway.openai_request import ENDPOINT_OF_PATH, Endpoint
from metering.keys import ApiKey

WRITE_BUFFER_BYTES_HIGH = 256 * 1024
WRITE_BUFFER_BYTES_LOW = 64 * 1024

_ENDPOINT_OF_URL = {path.encode(): endpoint for path, endpoint in ENDPOINT_OF_PATH.items()}

Refused = Callable[[str, ApiError], None]


class InferenceProtocol(HttpToolsProtocol):
    """One client connection. `protocol_class` sets the three attributes."""

    admission: Admission
    new_driver: Callable[[Exchange, Intake], ProtocolDriver]
    refused: Refused

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        transport.set_write_buffer_limits(WRITE_BUFFER_BYTES_HIGH, WRITE_BUFFER_BYTES_LOW)

    def on_headers_complete(self) -> None:
        endpoint = _ENDPOINT_OF_URL.get(self.url)
        behind = self.cycle is not None and not self.cycle.response_complete
        if endpoint is None or behind or self.parser.get_method() != b"POST":
            super().on_headers_complete()
            return
        intake = Intake(self, endpoint)
        self.cycle = cast(Any, intake)
        intake.headers_complete()

    def on_body(self, body: bytes) -> None:
        if isinstance(self.cycle, Intake):
            self.cycle.body_bytes(body)
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        if isinstance(self.cycle, Intake):
            self.cycle.body_complete()
        else:
            super().on_message_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        cycle = self.cycle
        super().connection_lost(exc)
        if isinstance(cycle, Intake):
            cycle.connection_lost()

    def pause_writing(self) -> None:
        super().pause_writing()
        if isinstance(self.cycle, Intake) and self.cycle.driver is not None:
            self.cycle.driver.pause()

    def resume_writing(self) -> None:
        super().resume_writing()
        if isinstance(self.cycle, Intake) and self.cycle.driver is not None:
            self.cycle.driver.resume()


class Intake:
    """A request being read and judged, and, to uvicorn, a request-response cycle."""

    def __init__(self, protocol: InferenceProtocol, endpoint: Endpoint) -> None:
        self.protocol = protocol
        self.endpoint = endpoint
        self.request_id = protocol.admission.new_request_id()
        self.driver: ProtocolDriver | None = None
        self.http_1_1 = protocol.parser.get_http_version() == "1.1"
        # what uvicorn reads and writes of a cycle
        self.keep_alive = self.http_1_1 and protocol.parser.should_keep_alive()
        self.response_complete = False
        self.disconnected = False
        self.message_event = asyncio.Event()
        self._key: ApiKey | None = None
        self._judged_key = False
        self._body: list[bytes] = []
        self._size = 0
        self._whole = False

    def headers_complete(self) -> None:
        headers = dict(self.protocol.headers)
        admission = self.protocol.admission
        self._judge(lambda known: admission.authenticate(headers, known), self._authenticated)

    def _authenticated(self, key: ApiKey) -> None:
        self._key = key
        if self.protocol.expect_100_continue and not self._whole:
            self.protocol.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if self._whole:
            self._admit()

    def body_bytes(self, data: bytes) -> None:
        self._size += len(data)
        if self._size <= self.protocol.admission.body_bytes_max:
            self._body.append(data)
        elif not self.response_complete:
            self.refuse(errors.body_too_large(self.protocol.admission.body_bytes_max))

    def body_complete(self) -> None:
        self._whole = True
        if self._key is not None and not self.response_complete:
            self._admit()

    def _admit(self) -> None:
        key, body = self._key, b"".join(self._body)
        assert key is not None
        self._body = []
        admission, request_id = self.protocol.admission, self.request_id
        self._judge(
            lambda known: admission.admit(request_id, key, self.endpoint, body, known),
            self._admitted,
        )

    def _admitted(self, exchange: Exchange) -> None:
        self.driver = self.protocol.new_driver(exchange, self)
        self.driver.start()

    def _judge(self, judge: Callable[[Any], Any], then: Callable[[Any], None]) -> None:
        """Call `then` with the judgement: at once if nothing must be looked up, else later."""
        try:
            judgement = judge({})
        except Pending:
            task = self.protocol.loop.create_task(self._judge_later(judge, then))
            self.protocol.tasks.add(task)
            task.add_done_callback(self.protocol.tasks.discard)
        except ApiError as error:
            self.refuse(error)
        else:
            then(judgement)

    async def _judge_later(self, judge: Callable[[Any], Any], then: Callable[[Any], None]) -> None:
        try:
            judgement = await settled(judge)
        except ApiError as error:
            self.refuse(error)
        else:
            if not self.disconnected:
                then(judgement)

    def refuse(self, error: ApiError) -> None:
        """Answer an error and, if the request was not read to its end, close the connection."""
        if self.disconnected:
            return
        self.protocol.refused(self.endpoint.value, error)
        if not self._whole:
            self.keep_alive = False
        body = error.body()
        self.protocol.transport.write(
            head_of(
                error.status,
                b"application/json",
                self.request_id,
                error.headers(),
                len(body),
                self.keep_alive,
            )
            + body
        )
        self.complete()

    def complete(self) -> None:
        """The response is written: hand the connection back to uvicorn."""
        self.response_complete = True
        if not self.keep_alive:
            self.protocol.transport.close()
        self.protocol.on_response_complete()

    def connection_lost(self) -> None:
        if self.driver is not None and not self.response_complete:
            self.driver.client_gone()


class ProtocolDriver(Driver):
    """An exchange whose client is a uvicorn transport."""

    __slots__ = ("_chunked", "_intake", "_out")

    def __init__(self, exchange: Exchange, intake: Intake, **parts: Any) -> None:
        super().__init__(exchange, **parts)
        self._intake = intake
        self._chunked = False
        self._out: list[bytes] = []

    def perform(self, actions: list[Action]) -> None:
        """Carry the actions out; what they write goes out in one system call."""
        super().perform(actions)
        if self._out:
            out, self._out = self._out, []
            self._intake.protocol.transport.write(out[0] if len(out) == 1 else b"".join(out))

    def respond(self, answer: Respond) -> None:
        intake = self._intake
        length = None if answer.body is None else len(answer.body)
        if length is None:
            self._chunked = intake.http_1_1
            intake.keep_alive = intake.keep_alive and self._chunked
        self._out.append(
            head_of(
                answer.status, answer.content_type, intake.request_id, answer.headers, length,
                intake.keep_alive,
            )
        )  # fmt: skip
        if answer.body is not None:
            self._out.append(answer.body)

    def send(self, data: bytes) -> None:
        self._out.append(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)

    def end(self) -> None:
        if self._chunked:
            self._out.append(b"0\r\n\r\n")
        self._intake.protocol.transport.write(b"".join(self._out))
        self._out = []
        self._intake.complete()

    def drop(self) -> None:
        self._intake.response_complete = True
        self._intake.protocol.transport.abort()


def head_of(
    status: int,
    content_type: bytes,
    request_id: str,
    headers: Any,
    length: int | None,
    keep_alive: bool,
) -> bytes:
    """The status line and headers of an answer; `length` None is a stream."""
    framing = b"" if keep_alive else b"connection: close\r\n"
    if length is not None:
        framing += b"content-length: %d\r\n" % length
    else:
        framing += b"cache-control: no-cache\r\n"
        if keep_alive:
            framing += b"transfer-encoding: chunked\r\n"
    extra = b"".join(b"%b: %b\r\n" % header for header in headers)
    return b"%bcontent-type: %b\r\nx-request-id: %b\r\n%b%b\r\n" % (
        STATUS_LINE[status], content_type, request_id.encode(), framing, extra,
    )  # fmt: skip


def protocol_class(
    admission: Admission,
    new_driver: Callable[[Exchange, Intake], ProtocolDriver],
    refused: Refused,
) -> type[InferenceProtocol]:
    """The class to give to uvicorn, bound to one gateway's parts."""
    parts = {
        "admission": admission,
        "new_driver": staticmethod(new_driver),
        "refused": staticmethod(refused),
    }
    return cast(
        type[InferenceProtocol], type("BoundInferenceProtocol", (InferenceProtocol,), parts)
    )

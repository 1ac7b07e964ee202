"""The protocol driver: inference straight off the client's connection.

No ASGI scope, task or coroutine is made for it: its bytes go from the connection into the exchange
and from the exchange to the transport.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

from gateway.actions import Action, Respond
from gateway.admission import Admission, Known, Pending, settled
from gateway.client_answer import Headers, answer_head
from gateway.client_connection import ClientConnection
from gateway.client_head import Head
from gateway.client_request import Request
from gateway.driver import Driver
from gateway.errors import ApiError
from gateway.exchange import Exchange
from metering.keys import ApiKey

_NOTHING_KNOWN: Known = {}


class Inference(Protocol):
    """What requests of one gateway share."""

    admission: Admission
    new_driver: NewDriver

    def cors(self, origin: bytes) -> Headers: ...

    @property
    def tasks(self) -> set[asyncio.Task[None]]:
        """Those that a shutdown waits for."""


class Intake(Request):
    """A request being read and judged: first its key, so that no stranger uploads a body."""

    __slots__ = ("_body", "_connection", "_gone", "_head", "_key", "_request_id", "_shared")

    def __init__(self, shared: Inference, connection: ClientConnection, head: Head) -> None:
        self._shared = shared
        self._connection = connection
        self._head = head
        self._request_id = shared.admission.new_request_id()
        self._key: ApiKey | None = None
        self._body: list[bytes] | bytes = []
        self._gone = False

    def begin(self, body: bytes | None) -> None:
        self._connection.request = self
        if body is not None:
            self._body = body
        self._judge()

    def body(self, data: bytes, complete: bool) -> None:
        assert type(self._body) is list
        self._body.append(data)
        if complete:
            self._body = b"".join(self._body)
            if self._key is not None:
                self._judge()

    def lost(self) -> None:
        self._gone = True

    def _judge(self) -> None:
        """As far as it is here; if something must be looked up, later."""
        try:
            if self._key is None:
                self._key = self._authenticate(_NOTHING_KNOWN)
            if type(self._body) is bytes:
                self._start(self._admit(_NOTHING_KNOWN))
            elif self._connection.awaits_continue:
                self._connection.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        except Pending:
            task = asyncio.get_running_loop().create_task(self._judge_later())
            self._shared.tasks.add(task)
            task.add_done_callback(self._shared.tasks.discard)
        except ApiError as error:
            self._refuse(error)

    async def _judge_later(self) -> None:
        try:
            if self._key is None:
                key = await settled(self._authenticate)
                if not self._gone:
                    self._key = key
                    self._judge()
                return
            exchange = await settled(self._admit)
        except ApiError as error:
            self._refuse(error)
            return
        self._start(exchange)

    def _authenticate(self, known: Known) -> ApiKey:
        return self._shared.admission.authenticate(
            {b"authorization": self._head.authorization}, known
        )

    def _admit(self, known: Known) -> Exchange:
        key, endpoint, body = self._key, self._head.endpoint, self._body
        assert key is not None
        assert endpoint is not None
        assert type(body) is bytes
        return self._shared.admission.admit(self._request_id, key, endpoint, body, known)

    def _start(self, exchange: Exchange) -> None:
        connection, head = self._connection, self._head
        cors = self._shared.cors(head.origin) if head.origin else ()
        driver = self._shared.new_driver(exchange, connection, head.http_1_1, cors)
        connection.request = driver
        driver.start()
        if self._gone:
            driver.lost()

    def _refuse(self, error: ApiError) -> None:
        endpoint = self._head.endpoint
        assert endpoint is not None
        if not self._gone:
            self._connection.refuse(error, endpoint.value, self._request_id)


class ProtocolDriver(Driver, Request):
    """An exchange whose client is one of our connections."""

    __slots__ = ("_chunked", "_connection", "_cors", "_http_1_1", "_out", "_transport")

    def __init__(
        self,
        exchange: Exchange,
        connection: ClientConnection,
        http_1_1: bool,
        cors: Headers,
        **parts: Any,
    ) -> None:
        super().__init__(exchange, **parts)
        self._connection = connection
        self._transport = connection.transport
        self._http_1_1 = http_1_1
        self._cors = cors
        self._chunked = False
        self._out: list[bytes] = []

    def perform(self, actions: list[Action]) -> None:
        """Carry the actions out; what they write goes out in one system call."""
        super().perform(actions)
        if self._out:
            self._flush()

    def respond(self, answer: Respond) -> None:
        connection, length = self._connection, None
        if answer.body is None:
            self._chunked = self._http_1_1
            connection.keep_alive = connection.keep_alive and self._chunked
        else:
            length = len(answer.body)
        head = answer_head(
            answer.status,
            answer.content_type,
            self.exchange.charge.request_id,
            (*answer.headers, *self._cors),
            length=length,
            keep_alive=connection.keep_alive,
        )
        self._out.append(head)
        if answer.body is not None:
            self._out.append(answer.body)

    def send(self, data: bytes) -> None:
        self._out.append(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)

    def relay(self, data: bytes) -> None:
        self._transport.write(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)

    def end(self) -> None:
        if self._chunked:
            self._out.append(b"0\r\n\r\n")
        self._flush()
        self._connection.answered()

    def drop(self) -> None:
        self._transport.abort()

    def lost(self) -> None:
        self.client_gone()

    def _flush(self) -> None:
        out, self._out = self._out, []
        self._transport.write(out[0] if len(out) == 1 else b"".join(out))


NewDriver = Callable[[Exchange, ClientConnection, bool, Headers], ProtocolDriver]

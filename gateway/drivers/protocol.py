"""The protocol driver: inference straight off the client's connection.

No ASGI scope, task or coroutine is made for it: its bytes go from the connection into the exchange
and from the exchange to the transport.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic_ns
from typing import Protocol

from gateway.admission.admission import Admission, Known, Pending, settled
from gateway.admission.till import Till
from gateway.client.answer import Headers, answer_head, chunk
from gateway.client.connection import ClientConnection
from gateway.client.head import Head
from gateway.client.request import Request
from gateway.drivers.driver import Driver, Watcher
from gateway.errors import ApiError
from gateway.exchange.actions import Respond
from gateway.exchange.exchange import Exchange
from gateway.exchange.told_limits import limit_lines
from gateway.nodes.upstream import Upstream
from metering.keys import ApiKey

COPIED_BYTES_MAX = 64 * 1024
"""An answer longer than this is not copied to be written with its head."""

READ_BYTES_MAX = 64 * 1024
"""A body up to this is read even if it is refused whatever it says: its connection lives on."""

_NOTHING_KNOWN: Known = {}


class Inference(Protocol):
    """What requests of one gateway share."""

    admission: Admission
    new_driver: NewDriver

    def cors(self, origin: bytes) -> Headers: ...

    @property
    def tasks(self) -> set[asyncio.Task[None]]:
        """Those that a shutdown waits for."""


def infer(shared: Inference, connection: ClientConnection, head: Head, body: bytes | None) -> None:
    """Judge a request and start its exchange: at once if it is whole and all is known, as nearly
    every one is.
    """
    endpoint, admission = head.endpoint, shared.admission
    assert endpoint is not None
    request_id = admission.new_request_id()
    if body is None:
        Intake(shared, connection, head, request_id, []).judge()
        return
    try:
        caller = connection.caller = admission.caller(
            head.authorization, connection.caller, _NOTHING_KNOWN
        )
        admission.check_overload(caller.key)
        exchange = admission.admit(
            request_id, caller.key, endpoint, body, _NOTHING_KNOWN, head.session_id
        )
    except ApiError as error:
        connection.refuse(error, endpoint.value, request_id)
    except Pending:
        Intake(shared, connection, head, request_id, body).judge()
    else:
        _start(shared, connection, head, exchange)


def _start(
    shared: Inference, connection: ClientConnection, head: Head, exchange: Exchange
) -> ProtocolDriver:
    cors = shared.cors(head.origin) if head.origin else ()
    driver = shared.new_driver(exchange, connection, head.http_1_1, cors)
    connection.request = driver
    driver.start()
    return driver


class Intake(Request):
    """A request being read and judged: first its key, so that no stranger uploads a body."""

    __slots__ = ("_body", "_connection", "_gone", "_head", "_key", "_request_id", "_shared")

    def __init__(
        self,
        shared: Inference,
        connection: ClientConnection,
        head: Head,
        request_id: str,
        body: bytes | list[bytes],
    ) -> None:
        """`body` is what there is of it, bytes if that is all."""
        self._shared = shared
        self._connection = connection
        self._head = head
        self._request_id = request_id
        self._key: ApiKey | None = None
        self._body = body
        self._gone = False
        connection.request = self

    def body(self, data: bytes, complete: bool) -> None:
        assert type(self._body) is list
        self._body.append(data)
        if complete:
            self._body = b"".join(self._body)
            if self._key is not None:
                self.judge()

    def lost(self) -> None:
        self._gone = True

    def judge(self) -> None:
        """As far as it is here; if something must be looked up, later."""
        try:
            if self._key is None:
                self._key = self._authenticate(_NOTHING_KNOWN)
            if type(self._body) is bytes or _is_large(self._head):
                self._shared.admission.check_overload(self._key)
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
                    self.judge()
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
        session_id = self._head.session_id
        return self._shared.admission.admit(
            self._request_id, key, endpoint, body, known, session_id
        )

    def _start(self, exchange: Exchange) -> None:
        driver = _start(self._shared, self._connection, self._head, exchange)
        if self._gone:
            driver.lost()

    def _refuse(self, error: ApiError) -> None:
        endpoint = self._head.endpoint
        assert endpoint is not None
        if not self._gone:
            self._connection.refuse(error, endpoint.value, self._request_id)


def _is_large(head: Head) -> bool:
    """Its body is dearer to read than its client's connection is to end."""
    return head.body_bytes is None or head.body_bytes > READ_BYTES_MAX


class ProtocolDriver(Driver, Request):
    """An exchange whose client is one of our connections."""

    __slots__ = ("_chunked", "_connection", "_cors", "_http_1_1", "_out", "_transport")

    def __init__(
        self,
        exchange: Exchange,
        till: Till,
        upstream: Upstream,
        watcher: Watcher,
        connection: ClientConnection,
        http_1_1: bool,
        cors: Headers,
    ) -> None:
        Driver.__init__(self, exchange, till, upstream, watcher)
        self._connection = connection
        self._transport = connection.transport
        self._http_1_1 = http_1_1
        self._cors = cors
        self._chunked = False
        self._out: list[bytes] = []

    def respond(self, answer: Respond) -> None:
        connection, length = self._connection, None
        if answer.body is None:
            self._chunked = self._http_1_1
            connection.keep_alive = connection.keep_alive and self._chunked
        else:
            length = len(answer.body)
        exchange = self.exchange
        limits = exchange.limits
        head = answer_head(
            answer.status,
            answer.content_type,
            exchange.charge.request_id,
            (*answer.headers, *self._cors) if self._cors else answer.headers,
            length=length,
            keep_alive=connection.keep_alive,
            lines=b"" if limits is None else limit_lines(limits, monotonic_ns()),
        )
        self._out.append(head)
        if answer.body is not None:
            self._out.append(answer.body)

    def send(self, data: bytes) -> None:
        self._out.append(chunk(data) if self._chunked else data)

    def node_body(self, data: bytes) -> None:
        """As a driver does it, but the plain event of a stream goes right to the transport."""
        passed = self.exchange.node_body(data, monotonic_ns())
        if not isinstance(passed, bytes):
            if passed:
                self.perform(passed)
        elif self._chunked:
            self._transport.write(chunk(passed))
        else:
            self._transport.write(passed)

    def flush(self) -> None:
        """All that one turn writes goes out in one system call."""
        out = self._out
        if not out:
            return
        self._out = []
        if len(out) == 1:
            self._transport.write(out[0])
        elif len(out[1]) < COPIED_BYTES_MAX:
            self._transport.write(b"".join(out))
        else:
            self._transport.writelines(out)

    def end(self) -> None:
        if self._chunked:
            self._out.append(b"0\r\n\r\n")
        self.flush()
        self._connection.answered()

    def drop(self) -> None:
        self._transport.abort()

    def lost(self) -> None:
        self.client_gone()


NewDriver = Callable[[Exchange, ClientConnection, bool, Headers], ProtocolDriver]

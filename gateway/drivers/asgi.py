"""The ASGI driver: an inference route as a plain ASGI application, for any ASGI server.

One coroutine per request writes to the client; a second one listens for the client's disconnect,
which ASGI tells only through `receive`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from gateway import errors
from gateway.admission.admission import Admission, settled
from gateway.client.cors import Cors, Header
from gateway.drivers.asgi_listener import AsgiListener, Message, Receive, Scope, Send, start_of
from gateway.drivers.coroutine import CoroutineDriver
from gateway.drivers.form import Asked, Plain
from gateway.drivers.idempotency import Idempotency, Repeatable
from gateway.errors import ApiError
from gateway.exchange.exchange import Exchange
from gateway.openai.request import ENDPOINT_OF_PATH

App = Callable[[Scope, Receive, Send], Awaitable[None]]

_logger = logging.getLogger(__name__)

_REQUEST_ID = b"x-request-id"
_IDEMPOTENCY_KEY = b"idempotency-key"
_METHOD_ASKED = b"access-control-request-method"
_ALLOW = (b"allow", b"POST, OPTIONS")


class InferenceApp:
    """POSTs to the inference routes; every other request goes to `rest`."""

    def __init__(
        self,
        admission: Admission,
        new_driver: NewDriver,
        refused: Refused,
        cors: Cors,
        idempotency: Idempotency,
        rest: App,
    ) -> None:
        self._admission = admission
        self._new_driver = new_driver
        self._refused = refused
        self._cors = cors
        self._idempotency = idempotency
        self._rest = rest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._rest(scope, receive, send)
            return
        origin = _header(scope, b"origin")
        if origin:
            send = _adding(self._cors.headers(origin), send)
            if scope["method"] == "OPTIONS" and _header(scope, _METHOD_ASKED):
                asked = _header(scope, b"access-control-request-headers")
                await _answer_empty(self._cors.preflight(asked), send)
                return
        if scope["path"] in ENDPOINT_OF_PATH:
            await self._infer(scope, receive, send)
            return
        if scope["method"] == "HEAD":  # the server leaves the body out
            scope = {**scope, "method": "GET"}
        await self._rest(scope, receive, self._named(scope, send))

    def _named(self, scope: Scope, send: Send) -> Send:
        """A `send` that gives the answer an id if it has none, by which a failure is logged."""

        async def named(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = list(message.get("headers", ()))
                if all(name != _REQUEST_ID for name, _ in headers):
                    request_id = self._admission.new_request_id()
                    message = {**message, "headers": [*headers, (_REQUEST_ID, request_id.encode())]}
                    if message["status"] == 500:
                        _logger.error("%s: %s %s", request_id, scope["method"], scope["path"])
            await send(message)

        return named

    async def _infer(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] == "OPTIONS":
            await _answer_empty([_ALLOW], send)
            return
        request_id = self._admission.new_request_id()
        exchange = None
        try:
            if scope["method"] == "POST" and _header(scope, _IDEMPOTENCY_KEY):
                await self._infer_once(request_id, scope, receive, send)
            else:
                exchange = await self._admit(request_id, scope, receive)
        except ApiError as error:
            error.request_id = request_id
            self._refused(ENDPOINT_OF_PATH[scope["path"]].value, error)
            allow = [_ALLOW] if error.status == 405 else []
            await _answer_error(error, request_id, allow, send)
            return
        except ConnectionResetError:
            return  # the client left before its request was whole
        if exchange is not None:
            await self._new_driver(exchange).run(receive, send)

    async def _infer_once(
        self, request_id: str, scope: Scope, receive: Receive, send: Send
    ) -> None:
        headers = dict(scope["headers"])
        key = await settled(lambda known: self._admission.authenticate(headers, known))
        body = await _read_body(headers, receive, self._admission.body_bytes_max)
        endpoint = ENDPOINT_OF_PATH[scope["path"]]

        async def ask() -> Asked:
            return Asked(endpoint, body, Plain())

        request = Repeatable(
            name=_header(scope, _IDEMPOTENCY_KEY),
            key=key,
            asked=endpoint.value.encode() + b"\0" + body,
            request_id=request_id,
        )
        await self._idempotency.answer(request, ask, AsgiListener(send))

    async def _admit(self, request_id: str, scope: Scope, receive: Receive) -> Exchange:
        if scope["method"] != "POST":
            raise errors.method_not_allowed(scope["method"], scope["path"])
        headers = dict(scope["headers"])
        admission = self._admission
        key = await settled(lambda known: admission.authenticate(headers, known))
        admission.check_overload(key)
        body = await _read_body(headers, receive, admission.body_bytes_max)
        endpoint = ENDPOINT_OF_PATH[scope["path"]]
        session_id = headers.get(b"x-session-id", b"").decode("latin-1")
        return await settled(
            lambda known: admission.admit(request_id, key, endpoint, body, known, session_id)
        )


class AsgiDriver(CoroutineDriver):
    """An exchange whose client is an ASGI `send`."""

    __slots__ = ()

    async def run(self, receive: Receive, send: Send) -> None:
        """Drive the exchange to its end."""
        listener = asyncio.create_task(self._listen(receive))
        try:
            self.start()
            await self._write(send)
        except BaseException:
            self.leave()  # the server cancelled us, or `send` failed: the client is lost
            raise
        finally:
            listener.cancel()

    async def _listen(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self.leave()

    async def _write(self, send: Send) -> None:
        answer = await self.answered()
        if answer is None:
            return
        await send(start_of(answer, self.exchange.charge.request_id))
        if answer.body is None:
            async for chunk in self.chunks():
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
        if self.whole:
            await send({"type": "http.response.body", "body": answer.body or b""})


NewDriver = Callable[[Exchange], AsgiDriver]
Refused = Callable[[str, ApiError], None]


async def _read_body(headers: dict[bytes, bytes], receive: Receive, body_bytes_max: int) -> bytes:
    """The request's body. Raises ApiError (413) and ConnectionResetError."""
    length = headers.get(b"content-length", b"0")
    if length.isdigit() and int(length) > body_bytes_max:
        raise errors.body_too_large(body_bytes_max)
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionResetError
        chunks.append(message.get("body", b""))
        size += len(chunks[-1])
        if size > body_bytes_max:
            raise errors.body_too_large(body_bytes_max)
        if not message.get("more_body", False):
            return b"".join(chunks)


def _header(scope: Scope, name: bytes) -> bytes:
    for header, value in scope["headers"]:
        if header == name:
            return bytes(value)
    return b""


def _adding(headers: Sequence[Header], send: Send) -> Send:
    """A `send` that adds these headers to the answer."""

    async def adding(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), *headers]}
        await send(message)

    return adding


async def _answer_empty(headers: Sequence[Header], send: Send) -> None:
    await send({"type": "http.response.start", "status": 204, "headers": list(headers)})
    await send({"type": "http.response.body", "body": b""})


async def _answer_error(
    error: ApiError, request_id: str, more: Sequence[Header], send: Send
) -> None:
    body = error.body()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (_REQUEST_ID, request_id.encode()),
        *error.headers(),
        *more,
    ]
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})

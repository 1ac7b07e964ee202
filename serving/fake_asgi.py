"""A fake node behind an ASGI server, which is what Ray Serve runs in a replica."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from serving.fake_http import Received, Wire
from serving.fake_node import FakeNode

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class AsgiWire(Wire):
    """Answers through ASGI's messages. What only a socket can do wrong, it cannot."""

    def __init__(self, send: Send) -> None:
        self._send = send

    async def head(self, status: int, content_type: str, length: int | None = None) -> None:
        headers = [(b"content-type", content_type.encode())]
        if length is not None:
            headers.append((b"content-length", b"%d" % length))
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def chunk(self, data: bytes) -> None:
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def end(self) -> None:
        await self._send({"type": "http.response.body", "body": b""})

    async def answer(self, status: int, content_type: str, body: bytes) -> None:
        await self.head(status, content_type, len(body))
        await self._send({"type": "http.response.body", "body": body})


class AsgiNode:
    """An ASGI application that is this node. A client that leaves ends its generation."""

    def __init__(self, node: FakeNode) -> None:
        self._node = node

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        request = Received(
            method=scope["method"],
            path=scope["path"].removeprefix(scope.get("root_path", "")),
            headers={
                name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
            },
            body=await _body(receive),
        )
        answering = asyncio.ensure_future(self._node.respond(request, AsgiWire(send)))
        leaving = asyncio.ensure_future(_left(receive))
        try:
            await asyncio.wait((answering, leaving), return_when=asyncio.FIRST_COMPLETED)
            if answering.done():
                answering.result()
        finally:
            leaving.cancel()
            answering.cancel()
            await asyncio.gather(answering, leaving, return_exceptions=True)


async def _body(receive: Receive) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body", False):
            return bytes(body)


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass

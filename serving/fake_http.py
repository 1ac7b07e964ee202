"""A small HTTP/1.1 server that can also misbehave on the wire, for the fake node."""

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from random import Random
from typing import cast

import httptools
import msgspec

from serving.fake_faults import Split

BODY_BYTES_MAX = 64 * 1024 * 1024
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Received(msgspec.Struct, frozen=True, kw_only=True):
    """One request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Wire:
    """The answering side of one connection."""

    def __init__(self, transport: asyncio.Transport, rng: Random) -> None:
        self._transport = transport
        self._rng = rng
        self._glued = bytearray()
        self.split = Split.NOWHERE

    async def head(self, status: int, content_type: str, length: int | None = None) -> None:
        """Send status and headers; with no length the body comes in chunks."""
        size = "transfer-encoding: chunked" if length is None else f"content-length: {length}"
        await self.write(
            f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nserver: uvicorn\r\n"
            f"{size}\r\ncontent-type: {content_type}\r\n\r\n".encode()
        )

    async def chunk(self, data: bytes) -> None:
        """Send a piece of a chunked body."""
        await self.write(b"%x\r\n%b\r\n" % (len(data), data))

    async def end(self) -> None:
        """End a chunked body."""
        await self.write(b"0\r\n\r\n")

    async def answer(self, status: int, content_type: str, body: bytes) -> None:
        """Send an answer that is whole."""
        await self.head(status, content_type, len(body))
        await self.write(body)

    async def json(self, status: int, message: object) -> None:
        """Send a JSON answer."""
        await self.answer(status, "application/json", msgspec.json.encode(message))

    async def write(self, data: bytes) -> None:
        """Send bytes as they are, cut as `split` says."""
        if self.split is Split.NOWHERE:
            self._transport.write(data)
        elif self.split is Split.GLUED:
            self._glued += data
        else:
            await self._write_pieces(data)

    def flush(self) -> None:
        """Send what was held back to be glued."""
        if self._glued:
            self._transport.write(bytes(self._glued))
            self._glued.clear()

    def close(self) -> None:
        """Close in order, once all is sent."""
        self.flush()
        self._transport.close()

    def reset(self) -> None:
        """End the connection with a TCP reset; what was written before still arrives if it can."""
        self.flush()
        sock: socket.socket = self._transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self._transport.abort()

    async def _write_pieces(self, data: bytes) -> None:
        start = 0
        while start < len(data):
            size = 1 if self.split is Split.EVERY_BYTE else self._rng.randint(1, 40)
            self._transport.write(data[start : start + size])
            start += size
            # Let the peer read each piece before the next is written.
            await asyncio.sleep(0)


Serve = Callable[[Received, Wire], Awaitable[None]]


class HttpConnection(asyncio.Protocol):
    """Reads requests one by one and has each answered; a lost client cancels its answer."""

    def __init__(self, serve: Serve, connections: set["HttpConnection"], rng: Random) -> None:
        self._serve = serve
        self._connections = connections
        self._rng = rng
        self._parser = httptools.HttpRequestParser(self)
        self._waiting: list[Received] = []
        self._answering: asyncio.Task[None] | None = None
        self._path = b""
        self._headers: dict[str, str] = {}
        self._body = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._connections.add(self)
        self._wire = Wire(cast(asyncio.Transport, transport), self._rng)

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.discard(self)
        self._waiting.clear()
        if self._answering is not None:
            self._answering.cancel()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._wire.reset()

    def drop(self) -> None:
        """End the connection as a dying process does."""
        self._wire.reset()

    def on_message_begin(self) -> None:
        self._path, self._headers, self._body = b"", {}, bytearray()

    def on_url(self, url: bytes) -> None:
        self._path += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self._body += body
        if len(self._body) > BODY_BYTES_MAX:
            self._wire.reset()

    def on_message_complete(self) -> None:
        request = Received(
            method=self._parser.get_method().decode(),
            path=self._path.partition(b"?")[0].decode("latin-1"),
            headers=self._headers,
            body=bytes(self._body),
        )
        self._waiting.append(request)
        if self._answering is None:
            self._answering = asyncio.get_running_loop().create_task(self._answer())

    async def _answer(self) -> None:
        while self._waiting:
            await self._serve(self._waiting.pop(0), self._wire)
            self._wire.flush()
            self._wire.split = Split.NOWHERE
        self._answering = None

"""One connection to a fake node, as bytes: for tests of the node itself."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from serving.fake_node import FakeNode


class Client:
    """One connection that shows the bytes as they come."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, body: Any, path: str = "/v1/chat/completions", method: str = "POST") -> None:
        data = b"" if body is None else json.dumps(body).encode()
        head = f"{method} {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(data)}\r\n\r\n"
        self.writer.write(head.encode() + data)

    async def head(self) -> tuple[int, dict[str, str]]:
        lines = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines[1:] if line)
        return int(lines[0].split()[1]), headers

    async def chunk(self) -> bytes:
        size = int(await self.reader.readline(), 16)
        return (await self.reader.readexactly(size + 2))[:-2]

    async def events(self) -> list[str]:
        """Read a chunked body to its end: the data of each event."""
        text = b""
        while chunk := await self.chunk():
            text += chunk
        return [part.removeprefix("data: ") for part in text.decode().split("\n\n")[:-1]]

    async def answer(self, body: Any, path: str = "/v1/chat/completions") -> tuple[int, Any]:
        self.send(body, path, "GET" if body is None else "POST")
        status, headers = await self.head()
        return status, json.loads(await self.reader.readexactly(int(headers["content-length"])))

    async def rest(self) -> bytes:
        """Read until the node closes; raises `ConnectionError` if it resets."""
        return await self.reader.read()


@asynccontextmanager
async def connected(node: FakeNode) -> AsyncIterator[Client]:
    host, port = node.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        yield Client(reader, writer)
    finally:
        writer.transport.abort()

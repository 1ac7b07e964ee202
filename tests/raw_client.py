"""A client that writes what bytes it likes, and reads answers one by one."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import NamedTuple

from served import Served

CHAT = "/v1/chat/completions"


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def code(self) -> str:
        """The code of an OpenAI error object, whose four keys are all there."""
        error = json.loads(self.body)["error"]
        assert set(error) == {"message", "type", "param", "code"}
        return error["code"]


class RawClient:
    """One connection to a gateway."""

    def __init__(
        self, served: Served, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.reader = reader
        self.writer = writer
        self._secret = served.secret

    @classmethod
    async def connect(cls, served: Served, *, receive_bytes: int = 0) -> RawClient:
        """`receive_bytes` bounds what the kernel takes for a client that does not read."""
        sock = socket.socket()
        sock.setblocking(False)
        if receive_bytes:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", served.server.port))
        limit = 2**16 if receive_bytes else 2**27
        reader, writer = await asyncio.open_connection(sock=sock, limit=limit)
        return cls(served, reader, writer)

    async def __aenter__(self) -> RawClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.transport.abort()

    def head(self, *lines: str, path: str = CHAT, version: str = "1.1") -> bytes:
        """The head of a POST with the right key; its framing is in `lines`."""
        return "\r\n".join(
            [
                f"POST {path} HTTP/{version}",
                "Host: x",
                f"Authorization: Bearer {self._secret}",
                *lines,
                "\r\n",
            ]
        ).encode()

    def post(self, fields: dict, *lines: str, path: str = CHAT, version: str = "1.1") -> bytes:
        """A whole request."""
        body = json.dumps(fields).encode()
        length = f"Content-Length: {len(body)}"
        return self.head(length, *lines, path=path, version=version) + body

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def answer(self) -> Answer:
        """The next answer: by its length, in chunks, or to the end of the connection."""
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        status_line, *lines = head.strip().split("\r\n")
        headers = {n.lower(): v.strip() for n, _, v in (line.partition(":") for line in lines)}
        status = int(status_line.split()[1])
        if status in (100, 204):
            body = b""
        elif "content-length" in headers:
            body = await self.reader.readexactly(int(headers["content-length"]))
        elif headers.get("transfer-encoding") == "chunked":
            body = await self._chunks()
        else:
            body = await self.reader.read()
        return Answer(status, headers, body)

    async def _chunks(self) -> bytes:
        body = b""
        while size := int(await self.reader.readuntil(b"\r\n"), 16):
            body += await self.reader.readexactly(size)
            await self.reader.readexactly(2)
        await self.reader.readexactly(2)
        return body

    async def ended(self) -> bool:
        """The gateway closed the connection in order, and nothing was left to read."""
        return await asyncio.wait_for(self.reader.read(), 10) == b""

"""A node that answers with what bytes it is told, over TCP, TLS or a Unix socket."""

from __future__ import annotations

import asyncio
import re
import ssl
from pathlib import Path

USAGE = b'"usage":{"prompt_tokens":7,"completion_tokens":2}'
WHOLE = (
    b'{"choices":[{"index":0,"message":{"content":"hi"},"finish_reason":"stop"}],' + USAGE + b"}"
)
STREAM = (
    b'data: {"choices":[{"index":0,"delta":{"content":"a"}}],"usage":{"prompt_tokens":7,'
    b'"total_tokens":8,"completion_tokens":1}}\n\n'
    b'data: {"choices":[{"index":0,"delta":{"content":"b"},"finish_reason":"stop"}],"usage":'
    b'{"prompt_tokens":7,"total_tokens":9,"completion_tokens":2}}\n\n'
    b'data: {"choices":[],' + USAGE + b"}\n\ndata: [DONE]\n\n"
)
_NOT_FOUND = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"


def ok(body: bytes, *lines: str) -> bytes:
    """A 200 of this body, framed by its length."""
    head = ["HTTP/1.1 200 OK", "Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join([*head, *lines, "\r\n"]).encode() + body


class RawNode:
    """Answers the nth request of its life with `answers[n]`, the last one for ever after.

    `closes` ends the connection after each answer.
    """

    def __init__(
        self,
        *answers: bytes,
        closes: bool = False,
        socket_path: Path | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.requests: list[bytes] = []
        self.connections = 0
        self.open = 0
        self.open_most = 0
        self._answers = answers
        self._closes = closes
        self._socket_path = socket_path
        self._tls = tls

    @property
    def url(self) -> str:
        if self._socket_path is not None:
            return f"unix:{self._socket_path}"
        port = self._server.sockets[0].getsockname()[1]
        return f"https://localhost:{port}" if self._tls else f"http://127.0.0.1:{port}"

    async def __aenter__(self) -> RawNode:
        if self._socket_path is not None:
            self._server = await asyncio.start_unix_server(self._serve, self._socket_path)
        else:
            self._server = await asyncio.start_server(
                self._serve, "127.0.0.1", 0, ssl=self._tls, limit=2**24
            )
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open += 1
        self.open_most = max(self.open_most, self.open)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                if head.startswith(b"GET "):
                    writer.write(_NOT_FOUND)  # it has no counters to show
                    continue
                length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
                assert length is not None
                self.requests.append(head + await reader.readexactly(int(length[1])))
                answer = self._answers[min(len(self.requests), len(self._answers)) - 1]
                writer.write(answer)
                await writer.drain()
                if self._closes:
                    return
        except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            pass  # the gateway hung up
        finally:
            self.open -= 1
            writer.close()

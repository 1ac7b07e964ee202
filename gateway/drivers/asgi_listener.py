"""Answers told to an ASGI server."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from gateway.exchange.actions import Respond

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_REQUEST_ID = (b"x-request-id",)


class AsgiListener:
    """An `idempotency.Listener`: told as long as it listens."""

    def __init__(self, send: Send, id_headers: tuple[bytes, ...] = _REQUEST_ID) -> None:
        self._send: Send | None = send
        self._id_headers = id_headers

    async def head(self, answer: Respond, request_id: str) -> None:
        await self._tell(start_of(answer, request_id, self._id_headers))

    async def part(self, data: bytes, *, last: bool) -> None:
        await self._tell({"type": "http.response.body", "body": data, "more_body": not last})

    async def _tell(self, message: Message) -> None:
        if self._send is None:
            return
        try:
            await self._send(message)
        except OSError:
            self._send = None


def start_of(
    answer: Respond, request_id: str, id_headers: tuple[bytes, ...] = _REQUEST_ID
) -> Message:
    """The message that begins an answer."""
    headers = [
        (b"content-type", answer.content_type),
        *((name, request_id.encode()) for name in id_headers),
        *answer.headers,
    ]
    if answer.body is None:
        headers.append((b"cache-control", b"no-cache"))
    else:
        headers.append((b"content-length", str(len(answer.body)).encode()))
    return {"type": "http.response.start", "status": answer.status, "headers": headers}

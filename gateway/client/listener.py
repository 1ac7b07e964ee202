"""Whom a connection tells of its requests; one for all connections of a gateway.

`drivers/listener.py` is it.
"""

from __future__ import annotations

from typing import Protocol, TypeVar

from gateway.client.answer import Headers
from gateway.client.head import Head
from gateway.errors import ApiError
from gateway.timeouts import ClientTimeouts

Connection = TypeVar("Connection", contravariant=True)


class Listener(Protocol[Connection]):
    body_bytes_max: int
    timeouts: ClientTimeouts
    now_ns: int

    def body_bytes_max_of(self, head: Head) -> int:
        """Of a body that does not come with its head."""

    def opened(self, connection: Connection) -> None: ...

    def closed(self, connection: Connection) -> None: ...

    def begin(self, connection: Connection, head: Head, body: bytes | None) -> None:
        """Start to answer a request; `body` None: it follows in parts."""

    def refused(self, endpoint: str, error: ApiError) -> None: ...

    def new_request_id(self) -> str: ...

    def cors(self, origin: bytes) -> Headers: ...

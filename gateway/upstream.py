"""Connections to nodes: a pool of keep-alive HTTP/1.1 connections, parsed by llhttp.

This is the one place where own code replaces a well-kept client: aiohttp's costs 102 us of CPU a
request and httpx's 2,400, against 19 for this (docs/decisions.md). The pool is bounded by the
router's capacity per node, so it needs no queue of its own.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Collection, Mapping
from typing import Protocol, cast
from urllib.parse import urlsplit

import httptools

from router.types import NodeRecord, Termination

CONNECT_TIMEOUT_S = 5.0
IDLE_CONNECTIONS_MAX = 256
"""Kept per node for reuse; what is over it is closed."""


class NodeListener(Protocol):
    """Who wants to hear what a node answers. After `node_end` or `node_failed` nothing comes."""

    def node_head(self, status: int) -> None: ...

    def node_body(self, data: bytes) -> None: ...

    def node_end(self) -> None: ...

    def node_failed(self, termination: Termination) -> None: ...


class Call:
    """One request to one node, from dialling to its end. `abort` may be called at any time."""

    __slots__ = ("_connection", "_listener", "_pool", "_request", "_reused", "_task", "answered")

    def __init__(self, pool: NodePool, request: bytes, listener: NodeListener) -> None:
        self._pool = pool
        self._request = request
        self._listener: NodeListener | None = listener
        self._connection: Connection | None = None
        self._task: asyncio.Task[None] | None = None
        self._reused = False
        self.answered = False
        """A byte of the answer has come."""

    def begin(self) -> None:
        connection = self._pool.idle_connection()
        if connection is None:
            self._task = asyncio.get_running_loop().create_task(self._connect())
            return
        self._reused = True
        self._send_on(connection)

    def abort(self) -> None:
        """Close the connection without a word: the node takes that as an order to stop."""
        self._listener = None
        if self._task is not None:
            self._task.cancel()
        if self._connection is not None:
            self._connection.close()

    def detach(self) -> None:
        """Nothing more of the answer is wanted, but the connection may finish and be reused."""
        self._listener = None

    def pause_reading(self) -> None:
        if self._connection is not None:
            self._connection.pause_reading()

    def resume_reading(self) -> None:
        if self._connection is not None:
            self._connection.resume_reading()

    async def _connect(self) -> None:
        try:
            connection = await self._pool.connect()
        except (OSError, TimeoutError, ssl.SSLError):
            self._task = None
            self._fail(Termination.CONNECT_ERROR)
            return
        self._task = None
        self._send_on(connection)

    def _send_on(self, connection: Connection) -> None:
        self._connection = connection
        connection.send(self, self._request)

    # -- from the connection ----------------------------------------------------------------------

    def head(self, status: int) -> None:
        if self._listener is not None:
            self._listener.node_head(status)

    def body(self, data: bytes) -> None:
        if self._listener is not None:
            self._listener.node_body(data)

    def end(self) -> None:
        self._connection = None
        if self._listener is not None:
            listener, self._listener = self._listener, None
            listener.node_end()

    def lost(self, termination: Termination) -> None:
        """The connection ended early. One that was reused may simply have been closed by the node
        between two requests, so a fresh one is tried, once, if no byte of an answer came.
        """
        self._connection = None
        if self._reused and not self.answered and self._listener is not None:
            self._reused = False
            self._task = asyncio.get_running_loop().create_task(self._connect())
            return
        self._fail(termination)

    def _fail(self, termination: Termination) -> None:
        if self._listener is not None:
            listener, self._listener = self._listener, None
            listener.node_failed(termination)


class Connection(asyncio.Protocol):
    """One connection to a node; serves one call at a time."""

    __slots__ = ("_call", "_interim", "_parser", "_paused", "_pool", "_transport")

    def __init__(self, pool: NodePool) -> None:
        self._pool = pool
        self._transport: asyncio.Transport | None = None
        self._parser: httptools.HttpResponseParser | None = None
        self._call: Call | None = None
        self._interim = False
        self._paused = False

    def send(self, call: Call, request: bytes) -> None:
        assert self._call is None, "a connection serves one call at a time"
        assert self._transport is not None
        self._call = call
        self._parser = httptools.HttpResponseParser(self)
        self._transport.write(request)

    def close(self) -> None:
        self._call = None
        if self._transport is not None:
            self._transport.abort()

    def pause_reading(self) -> None:
        if not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        if self._paused and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()

    # -- asyncio.Protocol -------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        call, parser = self._call, self._parser
        if call is None or parser is None:
            self.close()  # an answer that nobody asked for
            return
        call.answered = True
        try:
            parser.feed_data(data)
        except httptools.HttpParserError:
            self.close()
            call.lost(Termination.BROKEN)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._pool.forget(self)
        call, self._call = self._call, None
        if call is not None:
            call.lost(Termination.BROKEN)

    # -- httptools callbacks ----------------------------------------------------------------------

    def on_headers_complete(self) -> None:
        assert self._parser is not None
        status = self._parser.get_status_code()
        self._interim = 100 <= status < 200
        if self._call is not None and not self._interim:
            self._call.head(status)

    def on_body(self, data: bytes) -> None:
        if self._call is not None:
            self._call.body(data)

    def on_message_complete(self) -> None:
        call, parser = self._call, self._parser
        if self._interim or call is None or parser is None:
            return
        self._call = self._parser = None
        if parser.should_keep_alive():
            self.resume_reading()
            self._pool.give_back(self)
        elif self._transport is not None:
            self._transport.close()
        call.end()


class NodePool:
    """The connections to one node's address."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None, url
        self._host = parts.hostname
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._head = (
            b" HTTP/1.1\r\nhost: "
            + parts.netloc.rpartition("@")[2].encode()
            + b"\r\naccept: */*\r\ncontent-type: application/json\r\ncontent-length: "
        )
        self._prefix = b"POST " + parts.path.rstrip("/").encode()
        self._idle: list[Connection] = []
        self._closed = False

    def request(self, path: str, body: bytes, headers: bytes = b"") -> bytes:
        """The bytes of one POST; `headers` are whole lines ending in CRLF."""
        return b"%b%b%b%d\r\n%b\r\n%b" % (
            self._prefix, path.encode(), self._head, len(body), headers, body,
        )  # fmt: skip

    def idle_connection(self) -> Connection | None:
        """The connection used last (the likeliest to be open still), or None."""
        return self._idle.pop() if self._idle else None

    async def connect(self) -> Connection:
        """A fresh connection. Raises OSError or TimeoutError."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            _, connection = await loop.create_connection(
                lambda: Connection(self), self._host, self._port, ssl=self._tls
            )
        return connection

    def give_back(self, connection: Connection) -> None:
        if self._closed or len(self._idle) >= IDLE_CONNECTIONS_MAX:
            connection.close()
        else:
            self._idle.append(connection)

    def forget(self, connection: Connection) -> None:
        if connection in self._idle:
            self._idle.remove(connection)

    def close(self) -> None:
        """Close what is idle; what is busy closes when its call ends."""
        self._closed = True
        for connection in self._idle[:]:
            connection.close()


class Upstream:
    """Every node's pool. `authorization` holds the bearer keys of nodes that want one, by id."""

    def __init__(self, authorization: Mapping[str, str]) -> None:
        self._headers = {
            node_id: b"authorization: Bearer %b\r\n" % key.encode()
            for node_id, key in authorization.items()
        }
        self._pools: dict[str, NodePool] = {}

    def dial(
        self, node: NodeRecord, path: str, body: bytes, request_id: str, listener: NodeListener
    ) -> Call:
        """Send a POST to a node. The listener hears what comes of it, never before this returns."""
        pool = self._pools.get(node.url)
        if pool is None:
            pool = self._pools[node.url] = NodePool(node.url)
        headers = b"x-request-id: %b\r\n%b" % (
            request_id.encode(),
            self._headers.get(node.node_id, b""),
        )
        call = Call(pool, pool.request(path, body, headers), listener)
        call.begin()
        return call

    def keep_only(self, urls: Collection[str]) -> None:
        """Close the pools of nodes that are gone."""
        for url in [url for url in self._pools if url not in urls]:
            self._pools.pop(url).close()

    def close(self) -> None:
        self.keep_only(())

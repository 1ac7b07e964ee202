"""Connections to nodes: for each node a pool of keep-alive HTTP/1.1 connections.

This is the one place where own code replaces a well-kept client: aiohttp's costs 102 us of CPU a
request and httpx's 2,400, against 19 for this (docs/decisions.md). A pool needs no queue of its
own: the router never has more requests on a node than its capacity, and a request that finds no
idle connection opens one, so a node's connections are bounded by its capacity too.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Mapping
from urllib.parse import urlsplit

from gateway.nodes.connection import NodeConnection, NodeListener
from router.types import NodeRecord, Termination

CONNECT_TIMEOUT_S = 5.0
FINISH_TIMEOUT_S = 5.0
"""How long a node may take to end an answer of which all that matters is here."""
_TLS_TRIPS = 2
"""Round trips until a connection is made that is encrypted: TCP's, and one of TLS 1.3."""
IDLE_CONNECTIONS_MAX = 256
"""Kept per node for reuse; what is over it is closed."""


class Call:
    """One request to one node, from dialling to its end. `abort` may be called at any time."""

    __slots__ = ("_connection", "_paused", "_pool", "_request", "_reused", "_task", "listener")

    def __init__(self, pool: NodePool, request: bytes, listener: NodeListener) -> None:
        self.listener: NodeListener | None = listener
        """None once nobody wants to hear of it any more."""
        self._pool = pool
        self._request = request
        self._connection: NodeConnection | None = None
        self._task: asyncio.Task[None] | None = None
        self._reused = False
        self._paused = False

    def begin(self) -> None:
        idle = self._pool.idle
        if not idle:
            self._task = asyncio.get_running_loop().create_task(self._connect())
            return
        self._reused = True
        self._connection = connection = idle.pop()
        connection.send(self, self._request)

    def abort(self) -> None:
        """Close the connection without a word: the node takes that as an order to stop."""
        self.listener = None
        if self._task is not None:
            self._task.cancel()
        if self._connection is not None:
            self._connection.close()

    def detach(self) -> None:
        """Nothing more of the answer is wanted, but the connection may finish and be reused."""
        self.listener = None
        if self._connection is not None:
            self._connection.resume_reading()
            asyncio.get_running_loop().call_later(FINISH_TIMEOUT_S, self._cut)

    def _cut(self) -> None:
        if self._connection is not None:
            self._connection.close()

    def pause_reading(self) -> None:
        self._paused = True
        if self._connection is not None:
            self._connection.pause_reading()

    def resume_reading(self) -> None:
        self._paused = False
        if self._connection is not None:
            self._connection.resume_reading()

    async def _connect(self) -> None:
        try:
            connection = await self._pool.connect()
        except (
            OSError,
            ValueError,
        ):  # ssl.SSLError is an OSError, ValueError of a host that is none
            self._task = None
            self._fail(Termination.CONNECT_ERROR)
            return
        self._task = None
        self._connection = connection
        connection.send(self, self._request)
        if self._paused:
            connection.pause_reading()

    # -- from the connection ----------------------------------------------------------------------

    def ended(self) -> None:
        """The answer is whole."""
        self._connection = None
        if self.listener is not None:
            listener, self.listener = self.listener, None
            listener.node_end()

    def lost(self, *, answered: bool) -> None:
        """The connection ended early. One that was reused may simply have been closed by the node
        between two requests, so a fresh one is tried, once, if no byte of an answer came.
        """
        self._connection = None
        if self._reused and not answered and self.listener is not None:
            self._reused = False
            self._task = asyncio.get_running_loop().create_task(self._connect())
            return
        self._fail(Termination.BROKEN)

    def _fail(self, termination: Termination) -> None:
        if self.listener is not None:
            listener, self.listener = self.listener, None
            listener.node_failed(termination)


class NodePool:
    """The connections to one node. `tls` verifies it; `headers` are whole lines ending in CRLF."""

    def __init__(self, url: str, tls: ssl.SSLContext | None, headers: bytes) -> None:
        self.url = url
        parts = urlsplit(url)
        self._socket_path = parts.path if parts.scheme == "unix" else None
        self._host = parts.hostname or "localhost"
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._tls = (tls or ssl.create_default_context()) if parts.scheme == "https" else None
        base = "" if self._socket_path is not None else parts.path.rstrip("/")
        host = parts.netloc.rpartition("@")[2] or "localhost"
        self._base = base.encode()
        self._get_head = b" HTTP/1.1\r\nhost: %b\r\naccept: text/plain\r\n%b\r\n" % (
            host.encode(),
            headers,
        )
        self._post_head = (
            b" HTTP/1.1\r\nhost: %b\r\naccept: */*\r\ncontent-type: application/json\r\n%b"
            b"x-request-id: "
        ) % (host.encode(), headers)
        self._post_heads: dict[str, bytes] = {}
        """By path; of those there are few."""
        self.idle: list[NodeConnection] = []
        """The connection used last, the likeliest to be open still, is the last."""
        self._closed = False
        self.rtt_ns = 0
        """What connecting took at the fastest, a round trip; 0: not known."""

    def question(self, path: str) -> bytes:
        """The bytes of one GET."""
        return b"GET %b%b%b" % (self._base, path.encode(), self._get_head)

    def request(self, path: str, body: bytes, request_id: str) -> bytes:
        """The bytes of one POST."""
        head = self._post_heads.get(path)
        if head is None:
            head = self._post_heads[path] = b"POST " + self._base + path.encode() + self._post_head
        length = len(body)
        return b"%b%b\r\ncontent-length: %d\r\n\r\n%b" % (head, request_id.encode(), length, body)

    async def connect(self) -> NodeConnection:
        """A fresh connection. Raises OSError or TimeoutError."""
        loop = asyncio.get_running_loop()
        began_ns = time.monotonic_ns()
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            if self._socket_path is not None:
                _, connection = await loop.create_unix_connection(self._new, self._socket_path)
            else:
                _, connection = await loop.create_connection(
                    self._new, self._host, self._port, ssl=self._tls
                )
        trips = 1 if self._tls is None else _TLS_TRIPS
        took_ns = (time.monotonic_ns() - began_ns) // trips
        self.rtt_ns = min(self.rtt_ns or took_ns, took_ns)
        return connection

    def _new(self) -> NodeConnection:
        return NodeConnection(self)

    def give_back(self, connection: NodeConnection) -> None:
        if self._closed or len(self.idle) >= IDLE_CONNECTIONS_MAX:
            connection.close()
        else:
            self.idle.append(connection)

    def forget(self, connection: NodeConnection) -> None:
        if connection in self.idle:
            self.idle.remove(connection)

    def close(self) -> None:
        """Close what is idle; what is busy closes when its call ends."""
        self._closed = True
        for connection in self.idle[:]:
            connection.close()


class Upstream:
    """Every node's pool. By node id: `authorization` has the bearer keys of nodes that want one,
    `tls` the certificates to trust where they are not the system's.
    """

    def __init__(self, authorization: Mapping[str, str], tls: Mapping[str, ssl.SSLContext]) -> None:
        self._headers = {
            node_id: b"authorization: Bearer %b\r\n" % key.encode()
            for node_id, key in authorization.items()
        }
        self._tls = tls
        self._pools: dict[str, NodePool] = {}

    def dial(
        self, node: NodeRecord, path: str, body: bytes, request_id: str, listener: NodeListener
    ) -> Call:
        """Send a POST to a node. The listener hears what comes of it, never before this returns."""
        pool = self._pools.get(node.node_id)
        if pool is None or pool.url != node.url:
            pool = self._open(node)
        call = Call(pool, pool.request(path, body, request_id), listener)
        call.begin()
        return call

    def read(self, node: NodeRecord, path: str, listener: NodeListener) -> Call:
        """Send a GET to a node, over the same connections."""
        pool = self._pools.get(node.node_id)
        if pool is None or pool.url != node.url:
            pool = self._open(node)
        call = Call(pool, pool.question(path), listener)
        call.begin()
        return call

    def rtt_ns(self, node: NodeRecord) -> int:
        """A round trip to this node, as connecting to it took; 0: not known."""
        pool = self._pools.get(node.node_id)
        return 0 if pool is None else pool.rtt_ns

    def _open(self, node: NodeRecord) -> NodePool:
        if node.node_id in self._pools:  # it moved to another address
            self._pools[node.node_id].close()
        tls, headers = self._tls.get(node.node_id), self._headers.get(node.node_id, b"")
        pool = self._pools[node.node_id] = NodePool(node.url, tls, headers)
        return pool

    def reopen(self, node_id: str) -> None:
        """Its TLS has changed: what is dialled from now on is dialled anew."""
        if node_id in self._pools:
            self._pools.pop(node_id).close()

    def keep_only(self, nodes: Mapping[str, NodeRecord]) -> None:
        """Close the pools of nodes that are gone."""
        for node_id in [node_id for node_id in self._pools if node_id not in nodes]:
            self._pools.pop(node_id).close()

    def close(self) -> None:
        self.keep_only({})

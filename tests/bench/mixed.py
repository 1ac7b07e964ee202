"""What a request costs the event loop when 32 of them are under way: all of the gateway's own
Python on that thread, from the bytes of the request to those of the answer, without a socket.

A layer timed alone finds its code and data in the caches, and every branch predicted. Here each
request goes through all layers once before any comes again, as in a gateway: the same code takes
two to three times as long.
"""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace
from typing import Any, cast

from gateway.client.connection import ClientConnection
from gateway.nodes.connection import NodeConnection
from gateway.wiring import Gateway
from metering.spool_queue import OnDurable

AT_ONCE = 32


class _Spool:
    """Where rows are durable as soon as all 32 answers are in."""

    failed, full, backlog, rows_max = None, False, 0, 1

    def __init__(self) -> None:
        self.waiting: list[OnDurable] = []

    def append(self, row: object, on_durable: OnDurable | None = None) -> None:
        if on_durable is not None:
            self.waiting.append(on_durable)

    def tell(self) -> None:
        waiting, self.waiting = self.waiting, []
        for on_durable in waiting:
            on_durable(None)


class _Wire(asyncio.Transport):
    """Notes who was written to."""

    def __init__(self, protocol: asyncio.Protocol, written: list[asyncio.Protocol]) -> None:
        super().__init__()
        self._protocol = protocol
        self._written = written
        protocol.connection_made(self)

    def write(self, data: object) -> None:
        self._written.append(self._protocol)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...

    def get_write_buffer_size(self) -> int:
        return 0

    def close(self) -> None: ...

    def abort(self) -> None: ...


def seconds_of_turns(gateway: Gateway, asked: bytes, answered: bytes, turns: int) -> float:
    """CPU seconds of so many turns, in each of which 32 clients ask and are answered. The key's
    account must be known. `gateway` is of no use afterwards: it has lost its spool.
    """
    spool = _Spool()
    gateway._books.till._spool = cast(Any, spool)
    written: list[asyncio.Protocol] = []
    clients = _clients(gateway, written)
    _connect_nodes(gateway, written)
    began_s = time.thread_time()
    for _ in range(turns):
        for client in clients:
            client.data_received(asked)
        asked_nodes = cast(list[NodeConnection], written.copy())
        written.clear()
        for node in asked_nodes:
            node.data_received(answered)
        spool.tell()
        assert len(asked_nodes) == len(written) == AT_ONCE, "a request was refused"
        written.clear()
    return time.thread_time() - began_s


def _clients(gateway: Gateway, written: list[asyncio.Protocol]) -> list[ClientConnection]:
    state = SimpleNamespace(connections=set(), tasks=set())
    loop = asyncio.get_running_loop()
    clients = [
        gateway.listener(cast(Any, None), cast(Any, state), {}, loop) for _ in range(AT_ONCE)
    ]
    for client in clients:
        _Wire(client, written)
    return clients


def _connect_nodes(gateway: Gateway, written: list[asyncio.Protocol]) -> None:
    """So many connections wait at each node that none is ever opened."""
    for view in gateway._router.nodes(time.monotonic_ns()):
        pool = gateway._upstream._open(view.node)
        for _ in range(AT_ONCE):
            connection = pool._new()
            _Wire(connection, written)
            pool.give_back(connection)

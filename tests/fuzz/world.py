"""A whole gateway, wired as in production, on a virtual loop: only disk, sockets and time are not
real. One serves any number of inputs, and each finds it as the first did.
"""

from __future__ import annotations

import contextlib
import logging
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from unittest.mock import patch

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from gateway import books, wiring
from gateway.admission.ids import Ids
from gateway.client.head import Head
from gateway.config import Config, parse
from gateway.exchange.exchange import Exchange
from gateway.home import Home
from gateway.node_list import STATIC
from gateway.wiring import Gateway
from metering.budget import BalanceUpdate
from router.sessions import Sessions

from .books import ACCOUNTS, Durability, FixedKeys, MemoryPoster, MemorySpool
from .loop import Connected, NewProtocol, VirtualLoop
from .transport import Wire

SECOND_NS = 1_000_000_000
_HOUR_NS = 3600 * SECOND_NS
BODY_BYTES_MAX = 400_000
CONFIG = f"""
[server]
stream_keep_alive_s = 0  # the judge holds every byte against what a node said
body_bytes_max = {BODY_BYTES_MAX}
node_first_byte_timeout_s = 3
node_idle_timeout_s = 2
client_stall_timeout_s = 2
client_head_timeout_s = 1
client_body_timeout_s = 1
client_idle_timeout_s = 2
""" + "".join(
    f"""
[[model]]
id = "{model}"
context_tokens_max = 2048
prompt_usd_per_million = "0.20"
cached_prompt_usd_per_million = "0.10"
completion_usd_per_million = "0.60"
kinds = ["chat", "completions", "embeddings"]
"""
    for model in ("fake", "plain", "lone")
)
NODES = {"node-0": "fake", "node-1": "fake", "node-2": "plain", "node-3": "lone"}
CONFIG += "".join(
    f"""
[[node]]
id = "{node}"
supplier = "supplier"
url = "http://{node}"
model = "{model}"
served_model = "{"real" if model == "lone" else model}"
engine = "{"openai" if model == "plain" else "vllm"}"
capacity = 4
"""
    for node, model in NODES.items()
)


class Complaints(logging.Handler):
    """Everything that the gateway logs as an error, or with a traceback."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.ERROR or record.exc_info:
            self.found.append(logging.Formatter().format(record))


class World:
    """Made by `world()`. `begun` lists the heads that the gateway accepted, in order, with their
    bodies if those were whole; `bodies` what was admitted to be served.
    """

    def __init__(self, loop: VirtualLoop, home: Path, driver: str, complaints: Complaints) -> None:
        self.loop = loop
        self.complaints = complaints
        self.rng = random.Random()
        self.ids = Ids()
        self.begun: list[tuple[Head, bytes | None]] = []
        self.bodies: list[bytes] = []
        config: Config = parse(CONFIG)
        chance = SimpleNamespace(Random=lambda: self.rng)
        with (
            patch.multiple(books, Spool=MemorySpool, Poster=MemoryPoster, KeyStore=FixedKeys),
            patch.multiple(wiring, Ids=lambda: self.ids, random=chance),
        ):
            self.gateway = Gateway(Home(home), config)
        self.spool = cast(MemorySpool, self.gateway._books._spool)
        self.till = cast(Any, self.gateway._books.till)
        self.nodes = [node.record() for node in config.node]
        self.state = ServerState()
        self.driver = driver
        http: Any = self.gateway.listener if driver == "protocol" else "httptools"
        self._uvicorn = uvicorn.Config(
            Echo(self.gateway.app), http=http, ws="none", lifespan="off", log_config=None
        )
        self._uvicorn.load()
        self._note_what_begins()
        self._sweep = loop.create_task(self.gateway._watch.sweep())
        loop.run_ready()

    def _note_what_begins(self) -> None:
        listener, begin = self.gateway.listener, self.gateway.listener.begin

        def noting(connection: Any, head: Head, body: bytes | None) -> None:
            self.begun.append((head, body))
            begin(connection, head, body)

        admission, admit = self.gateway.admission, self.gateway.admission.admit

        def noting_bodies(
            request_id: str, key: Any, endpoint: Any, body: bytes, known: Any, session_id: str = ""
        ) -> Exchange:
            exchange = admit(request_id, key, endpoint, body, known, session_id)
            self.bodies.append(body)
            return exchange

        listener.begin = noting  # type: ignore[method-assign]
        admission.admit = noting_bodies  # type: ignore[method-assign]

    def close(self) -> None:
        self._sweep.cancel()
        self.loop.run_ready()
        kept = self.gateway._books
        for part in (kept.ledger, kept._database, kept.reports, kept._texts):
            part.close()

    def client(self, *, reads_all: bool) -> Wire:
        """A new connection from a client."""
        wire = Wire(self.loop, reads_all=reads_all)
        if self.driver == "protocol":
            protocol: Any = self.gateway.listener(self._uvicorn, self.state, {}, self.loop)
        else:
            protocol = HttpToolsProtocol(self._uvicorn, self.state, {}, self.loop)
        wire.attach(protocol)
        return wire

    def idle_wires(self) -> list[Wire]:
        """Connections to nodes that wait in a pool for their next request."""
        pools = self.gateway._upstream._pools.values()
        return [cast(Wire, c._transport) for pool in pools for c in pool.idle]

    def loose(self, wires: list[Wire]) -> list[Wire]:
        """Those of these connections that are open and in no pool."""
        idle = self.idle_wires()
        return [wire for wire in wires if wire.protocol is not None and wire not in idle]

    def reset(self, seed: int, durability: Durability) -> None:
        """As new, but for the time. Whatever still ran on a node would be seen by `check`."""
        gateway = self.gateway
        gateway._upstream.close()
        gateway._nodes._update(STATIC, [])
        self.loop.leap(2 * _HOUR_NS - self.loop.now_ns % _HOUR_NS)
        gateway._router.nodes(self.loop.now_ns)
        gateway._nodes._update(STATIC, self.nodes)
        gateway._router._sessions = Sessions()
        budget = self.till._budget
        budget.update(
            BalanceUpdate(
                account=account,
                available_nano_usd=credit,
                booked_nano_usd=budget.available(account) - credit if budget.known(account) else 0,
            )
            for account, credit in ACCOUNTS.items()
        )
        self.loop.faults.clear()
        self.complaints.found.clear()
        self.begun.clear()
        self.bodies.clear()
        self.till._limiter.keys.clear()
        self.spool.reset(durability)
        self.rng.seed(seed)
        self.ids._bits = random.Random(seed).getrandbits


class Echo:
    """An ASGI application that tells what it was asked at /echo, and hands on the rest."""

    def __init__(self, rest: Any) -> None:
        self._rest = rest

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope.get("path") != "/echo":
            await self._rest(scope, receive, send)
            return
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            more = message.get("more_body", False)
        headers = [(b"content-length", b"%d" % len(body)), (b"content-type", b"application/echo")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


@contextlib.contextmanager
def world(driver: str = "protocol") -> Iterator[World]:
    """A gateway on the protocol driver, or on the ASGI driver under uvicorn's own protocol."""
    loop, complaints = VirtualLoop(), Complaints()
    root = logging.getLogger()
    root.addHandler(complaints)
    try:
        with tempfile.TemporaryDirectory() as home, loop.running():
            made = World(loop, Path(home), driver, complaints)
            try:
                yield made
            finally:
                made.close()
    finally:
        root.removeHandler(complaints)


__all__ = ["Connected", "NewProtocol", "World", "world"]

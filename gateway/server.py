"""uvicorn, told how to serve a gateway and how to stop: draining first."""

from __future__ import annotations

import asyncio
import functools
import gc
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from types import FrameType
from typing import Any, Literal, cast

import uvicorn

from gateway.books import DRAIN_S
from gateway.wiring import Gateway

log = logging.getLogger("tollgate")

BACKLOG = 4096
ACCEPTED_AT_ONCE = 32
"""Connections taken from a socket in one turn of the event loop. libuv takes one, and when the
gateway is busy a turn lasts up to 0.1 s: so each socket is listened on so many times over.
"""
STOP_MARGIN_S = int(DRAIN_S) + 15
"""How much longer than the drain a stop may take: what is recorded goes into the ledger then."""


class GatewayServer(uvicorn.Server):
    """On the first signal it leaves: it serves on for `leave_s`, so that load balancers see it go,
    each answer the last on its connection; then it takes no new connections, and open streams
    finish within the drain time. On the second they are cut, and charged for what was delivered.
    A stop that hangs all the same is ended by the kernel, and what it left open billed at the next
    start.

    If a task that has to go on ends (leases would not be renewed any more, nor keys read), nobody
    is served by what is left: it stops as on a signal, with status 1, to be started again.

    `on_serving` is called with the port once connections are taken.
    """

    def __init__(
        self,
        gateway: Gateway,
        *,
        driver: Literal["protocol", "asgi"] = "protocol",
        on_serving: Callable[[int], None] = lambda port: None,
    ) -> None:
        settings = gateway.config.server
        super().__init__(
            uvicorn.Config(
                gateway.app,
                host=settings.host,
                port=settings.port,
                http=cast(Any, gateway.listener) if driver == "protocol" else "httptools",
                ws="none",
                loop="uvloop",
                lifespan="on",
                access_log=False,
                log_config=None,
                log_level="warning",
                server_header=False,
                backlog=BACKLOG,
                timeout_graceful_shutdown=settings.drain_s,
                timeout_keep_alive=75,
            )
        )
        self._gateway = gateway
        self._on_serving = on_serving
        self._stop_s = settings.leave_s + settings.drain_s + STOP_MARGIN_S
        self._leave_s = settings.leave_s
        self._left_s = 0.0

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        super().run(sockets)
        signal.alarm(0)
        if self.lifespan.error_occurred:
            sys.exit(1)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        await self._accept_many()
        _spare_the_collector()
        if self.started:
            self._on_serving(self.port)

    async def _accept_many(self) -> None:
        """Nobody who connects waits a turn of the loop for each who came before."""
        loop = asyncio.get_running_loop()
        new_connection = functools.partial(
            cast(Any, self.config.http_protocol_class),
            config=self.config,
            server_state=self.server_state,
            app_state=self.lifespan.state,
        )
        for listening in [one for server in self.servers for one in server.sockets]:
            for _ in range(ACCEPTED_AT_ONCE - 1):
                again = socket.socket(fileno=os.dup(listening.fileno()))
                self.servers.append(
                    await loop.create_server(new_connection, sock=again, backlog=BACKLOG)
                )

    async def on_tick(self, counter: int) -> bool:
        if self.lifespan.error_occurred and not self.should_exit:
            log.critical("a part of the gateway failed, so it stops: start it again")
            self.handle_exit(signal.SIGTERM, None)
        if self._gateway.admission.draining:
            self._gateway.listener.leave()
            self.should_exit = self.should_exit or time.monotonic() >= self._left_s
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        log.info("draining: what is under way has %d s", self._gateway.config.server.drain_s)
        await super().shutdown(sockets)
        if self.force_exit:  # then uvicorn leaves this out, and the books with it
            await self.lifespan.shutdown()
        log.info("stopped")

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        admission = self._gateway.admission
        if admission.draining:
            admission.closed = self.force_exit = self.should_exit = True
            return
        admission.draining = True
        signal.alarm(self._stop_s)
        if self.lifespan.error_occurred or not self.started:
            self.should_exit = True
        self._left_s = time.monotonic() + self._leave_s

    @property
    def port(self) -> int:
        """The port it listens on, once started."""
        listener: socket.socket = self.servers[0].sockets[0]
        port: int = listener.getsockname()[1]
        return port


def _spare_the_collector() -> None:
    """What is there once the gateway serves stays for good: searching it for garbage again and
    again was a tenth of a request. What a request leaves goes without the collector.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)

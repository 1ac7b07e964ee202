"""uvicorn, told how to serve a gateway and how to stop: draining first."""

from __future__ import annotations

import socket
from types import FrameType
from typing import Literal

import uvicorn

from gateway.wiring import Gateway

BACKLOG = 4096


class GatewayServer(uvicorn.Server):
    """On the first signal nothing new is admitted and open streams finish, within the drain time;
    on the second they are cut, and charged for what was delivered.
    """

    def __init__(
        self, gateway: Gateway, *, driver: Literal["protocol", "asgi"] = "protocol"
    ) -> None:
        settings = gateway.config.server
        super().__init__(
            uvicorn.Config(
                gateway.app,
                host=settings.host,
                port=settings.port,
                http=gateway.http_protocol if driver == "protocol" else "httptools",
                ws="none",
                loop="uvloop",
                lifespan="on",
                access_log=False,
                log_level="warning",
                server_header=False,
                backlog=BACKLOG,
                timeout_graceful_shutdown=settings.drain_s,
                timeout_keep_alive=75,
            )
        )
        self._gateway = gateway

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._gateway.admission.draining = True
        self.force_exit = self.should_exit
        self.should_exit = True

    @property
    def port(self) -> int:
        """The port it listens on, once started."""
        listener: socket.socket = self.servers[0].sockets[0]
        port: int = listener.getsockname()[1]
        return port

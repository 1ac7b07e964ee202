"""What the client connections of one gateway share, and how uvicorn comes by a new one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, cast

from uvicorn.config import Config
from uvicorn.server import ServerState

from gateway.admission.admission import Admission
from gateway.client.answer import Headers
from gateway.client.asgi_request import AsgiRequest
from gateway.client.connection import ClientConnection
from gateway.client.cors import Cors
from gateway.client.head import Head
from gateway.drivers.protocol import NewDriver, infer
from gateway.errors import ApiError
from gateway.timeouts import ClientTimeouts

Refused = Callable[[str, ApiError], None]
_UPLOAD = b"POST /v1/files HTTP/"


class ClientListener:
    """`uvicorn.Config(http=listener)`: called for each connection accepted."""

    def __init__(
        self,
        admission: Admission,
        new_driver: NewDriver,
        refused: Refused,
        cors: Cors,
        timeouts: ClientTimeouts,
        upload_bytes_max: int,
    ) -> None:
        self.admission = admission
        self.new_driver = new_driver
        self.refused = refused
        self._cors = cors
        self.timeouts = timeouts
        self.body_bytes_max = admission.body_bytes_max
        self._upload_bytes_max = max(upload_bytes_max, admission.body_bytes_max)
        self.new_request_id = admission.new_request_id
        self.now_ns = time.monotonic_ns()
        """The time of the last sweep: near enough for deadlines, and free."""
        self._connections: set[ClientConnection] = set()
        self._leaves = False

    def __call__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> ClientConnection:
        self._config, self._state, self._app_state = config, server_state, app_state
        self._loop = _loop or asyncio.get_running_loop()
        connection = ClientConnection(self, self._loop)
        connection.keep_alive = not self._leaves
        return connection

    @property
    def tasks(self) -> set[asyncio.Task[None]]:
        return self._state.tasks

    def cors(self, origin: bytes) -> Headers:
        return self._cors.headers(origin)

    def body_bytes_max_of(self, head: Head) -> int:
        """Uploads go to a route that writes them to disk as they come."""
        return self._upload_bytes_max if head.raw.startswith(_UPLOAD) else self.body_bytes_max

    def opened(self, connection: ClientConnection) -> None:
        self._connections.add(connection)
        self._state.connections.add(cast(Any, connection))

    def closed(self, connection: ClientConnection) -> None:
        self._connections.discard(connection)
        self._state.connections.discard(cast(Any, connection))

    def leave(self) -> None:
        """From now on each answer is the last on its connection, and says so."""
        if not self._leaves:
            self._leaves = True
            for connection in self._connections:
                connection.leave()

    def begin(self, connection: ClientConnection, head: Head, body: bytes | None) -> None:
        """Inference goes straight to the exchange, everything else to the ASGI application, with
        what has an Idempotency-Key: that waits for the database anyway.
        """
        if head.endpoint is not None and not head.repeatable:
            infer(self, connection, head, body)
            return
        try:
            AsgiRequest(connection, head).begin(
                body, self._config, self._state, self._app_state, self._loop
            )
        except ApiError as error:
            connection.keep_alive = False  # after HEAD the refusal's body would be the next answer
            connection.refuse(error)

    def sweep(self, now_ns: int) -> None:
        """Called a few times a second."""
        self.now_ns = now_ns
        late = [c for c in self._connections if c.deadline_ns <= now_ns]
        for connection in late:
            connection.expired(now_ns)

"""A request that is not inference: an ASGI cycle of uvicorn's on one of our connections."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Any, cast
from urllib.parse import unquote

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle
from uvicorn.protocols.utils import get_local_addr, get_remote_addr
from uvicorn.server import ServerState

from gateway import errors
from gateway.client.connection import ClientConnection
from gateway.client.head import Head
from gateway.client.request import Request

_error_log = logging.getLogger("uvicorn.error")
_access_log = logging.getLogger("uvicorn.access")


class AsgiRequest(Request):
    """The connection cuts the request out of the bytes; the cycle answers it."""

    __slots__ = ("_connection", "_cycle", "_head")

    def __init__(self, connection: ClientConnection, head: Head) -> None:
        self._connection = connection
        self._head = head

    def begin(
        self,
        body: bytes | None,
        config: Config,
        state: ServerState,
        app_state: dict[str, Any],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        """Start the application's task. Raises ApiError for a target that is no URL."""
        connection = self._connection
        self._cycle = cycle = RequestResponseCycle(
            scope=cast(Any, self._scope(config, app_state)),
            transport=cast(asyncio.Transport, connection),
            flow=cast(Any, _Flow(connection)),
            logger=_error_log,
            access_logger=_access_log,
            access_log=config.access_log,
            default_headers=state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=connection.awaits_continue and body is None,
            keep_alive=connection.keep_alive,
            on_response=connection.answered,
        )
        connection.request = self
        if body is not None:
            self.body(body, complete=True)
        task = loop.create_task(cycle.run_asgi(config.loaded_app))
        state.tasks.add(task)
        task.add_done_callback(state.tasks.discard)

    @property
    def answering(self) -> bool:
        return self._cycle.response_started

    def body(self, data: bytes, complete: bool) -> None:
        cycle = self._cycle
        cycle.keep_alive = cycle.keep_alive and self._connection.keep_alive
        cycle.body += data
        cycle.more_body = not complete
        if len(cycle.body) > HIGH_WATER_LIMIT and not complete:
            self._connection.flow.pause_reading()
        cycle.message_event.set()

    def is_last(self) -> None:
        self._cycle.keep_alive = False

    def lost(self) -> None:
        self._cycle.disconnected = True
        self._cycle.message_event.set()

    def _scope(self, config: Config, app_state: dict[str, Any]) -> dict[str, Any]:
        read = _Fields()
        parser = httptools.HttpRequestParser(read)
        with contextlib.suppress(httptools.HttpParserUpgrade):
            parser.feed_data(self._head.raw)
        method = parser.get_method().decode("ascii")
        path, query = _split(read.url, method)
        transport = self._connection.transport
        return {
            "type": "http",
            "asgi": {"version": config.asgi_version, "spec_version": "2.3"},
            "http_version": "1.1" if self._head.http_1_1 else "1.0",
            "server": get_local_addr(transport),
            "client": get_remote_addr(transport),
            "scheme": "http",
            "method": method,
            "root_path": config.root_path,
            "path": config.root_path + unquote(path.decode("latin-1")),
            "raw_path": config.root_path.encode("ascii") + path,
            "query_string": query,
            "headers": read.headers,
            "state": app_state.copy(),
        }


class _Flow:
    """What a cycle needs of uvicorn's FlowControl. It asks to read on whenever it waits for more of
    its body, also where there is none: other requests must not pile up by that.
    """

    __slots__ = ("_flow", "resume_reading")

    def __init__(self, connection: ClientConnection) -> None:
        self._flow = connection.flow
        self.resume_reading = connection.read_on

    @property
    def write_paused(self) -> bool:
        return self._flow.write_paused

    async def drain(self) -> None:
        await self._flow.drain()


class _Fields:
    """What llhttp reads in a head."""

    def __init__(self) -> None:
        self.url = b""
        self.headers: list[tuple[bytes, bytes]] = []

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))


def _split(url: bytes, method: str) -> tuple[bytes, bytes]:
    """Path and query of a request target. Raises ApiError."""
    if method == "CONNECT":
        raise errors.method_not_allowed(method, url.decode("latin-1"))
    if url == b"*":
        return url, b""
    try:
        parsed = httptools.parse_url(url)
    except httptools.HttpParserInvalidURLError:
        raise errors.bad_http("the request target is not a URL") from None
    return parsed.path or b"/", parsed.query or b""

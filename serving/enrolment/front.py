"""The node's own door: TLS that lets the gateways in and nobody else, before an engine on loopback.

What comes is passed on byte by byte: the engine answers as if it were called itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlsplit

from serving.enrolment.tls import of_node

CHUNK_BYTES = 64 * 1024
CONNECTIONS_MAX = 2048
HANDSHAKE_TIMEOUT_S = 10.0


class Front:
    """Listens while it knows of a gateway. `engine_url` may change: engines move when they start
    again.
    """

    def __init__(self, host: str, port: int, identity: Path) -> None:
        self.engine_url = ""
        self._host, self._port = host, port
        self._identity = identity
        self._server: asyncio.Server | None = None
        self._trusted: frozenset[str] = frozenset()
        self._open: set[asyncio.StreamWriter] = set()

    async def trust(self, certificates: Iterable[str]) -> None:
        """Let in holders of these, no others; what is open already stays so. Told of none, the
        door stays as it is: gateways that come back have yet to say that they are there.

        Raises OSError if the port is taken, ssl.SSLError.
        """
        wanted = frozenset(certificates)
        if not wanted or wanted == self._trusted:
            return
        await self._stop_listening()
        self._trusted = wanted
        self._server = await asyncio.start_server(
            self._serve,
            self._host,
            self._port,
            ssl=of_node(sorted(wanted), self._identity),
            ssl_handshake_timeout=HANDSHAKE_TIMEOUT_S,
        )

    async def close(self) -> None:
        await self._stop_listening()
        for writer in tuple(self._open):
            writer.transport.abort()

    async def _stop_listening(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
            await asyncio.sleep(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            if len(self._open) <= CONNECTIONS_MAX and self.engine_url:
                await self._relay(reader, writer)
        except (OSError, ssl.SSLError):
            pass  # either end went: so does the other
        finally:
            self._open.discard(writer)
            writer.transport.abort()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Until one side has ended: an HTTP connection is of no use without the other."""
        where = urlsplit(self.engine_url)
        engine_reader, engine_writer = await asyncio.open_connection(where.hostname, where.port)
        ways = {
            asyncio.create_task(_pass_on(reader, engine_writer)),
            asyncio.create_task(_pass_on(engine_reader, writer)),
        }
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            with contextlib.suppress(OSError, ssl.SSLError):
                await asyncio.gather(*ways, return_exceptions=True)
            engine_writer.transport.abort()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(CHUNK_BYTES):
        writer.write(data)
        await writer.drain()

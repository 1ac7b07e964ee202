"""A connection to a node for a question now and then: it blocks, and is closed by who asked."""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import threading
from urllib.parse import urlsplit

_DEADLINE = 4
"""So many times as long as it waits for a byte, an answer may take in all."""


class Door:
    """Asks under the node's URL: `door.get("/v1/models", 1 << 20)`.

    Raises OSError, http.client.HTTPException, and ValueError for a host that is none.
    """

    def __init__(
        self, url: str, *, tls: ssl.SSLContext | None, key: str | None, timeout_s: float
    ) -> None:
        parts = urlsplit(url)
        self._base = "" if parts.scheme == "unix" else parts.path.rstrip("/")
        self._headers = {} if key is None else {"authorization": f"Bearer {key}"}
        self._deadline_s = timeout_s * _DEADLINE
        self._socket: socket.socket | None = None
        self._late = False
        self.certificate_ends_s: float | None = None
        """Of what the node showed, in Unix seconds; None if nothing was verified."""
        self._connection: http.client.HTTPConnection
        if parts.scheme == "unix":
            self._connection = _UnixConnection("localhost", timeout=timeout_s)
            self._connection.socket_path = parts.path
        elif parts.scheme == "https":
            self._connection = http.client.HTTPSConnection(
                parts.hostname or "",
                parts.port,
                timeout=timeout_s,
                context=tls or ssl.create_default_context(),
            )
        else:
            self._connection = http.client.HTTPConnection(
                parts.hostname or "", parts.port, timeout=timeout_s
            )

    def get(self, path: str, body_bytes_max: int) -> tuple[http.client.HTTPResponse, bytes]:
        """The answer, and as much of its body."""
        return self._ask("GET", path, None, {"accept": "*/*"}, body_bytes_max)

    def post(
        self, path: str, body: bytes, body_bytes_max: int
    ) -> tuple[http.client.HTTPResponse, bytes]:
        """The same, for a body of JSON."""
        headers = {"accept": "application/json", "content-type": "application/json"}
        return self._ask("POST", path, body, headers, body_bytes_max)

    def _ask(
        self,
        method: str,
        path: str,
        asked: bytes | None,
        headers: dict[str, str],
        body_bytes_max: int,
    ) -> tuple[http.client.HTTPResponse, bytes]:
        headers.update(self._headers)
        self._socket = None
        timer = threading.Timer(self._deadline_s, self._cut)
        timer.daemon = True
        timer.start()
        try:
            self._connection.request(method, self._base + path, asked, headers)
            self._socket = self._connection.sock
            self.certificate_ends_s = _ends_s(self._socket)
            answer = self._connection.getresponse()
            body = answer.read(body_bytes_max)
        finally:
            timer.cancel()
        if self._late:  # what came until then is no answer
            raise TimeoutError(f"no whole answer within {self._deadline_s:g} s")
        if not answer.isclosed():
            self._connection.close()  # the rest is not wanted; the next question dials anew
        return answer, body

    def _cut(self) -> None:
        """On another thread: whoever reads hears that it ended."""
        self._late = True
        connected: socket.socket | None = self._socket or self._connection.sock
        if connected is not None:
            with contextlib.suppress(OSError):
                connected.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._connection.close()


def _ends_s(connected: object) -> float | None:
    certificate = connected.getpeercert() if isinstance(connected, ssl.SSLSocket) else None
    if not certificate or "notAfter" not in certificate:
        return None
    return ssl.cert_time_to_seconds(str(certificate["notAfter"]))


class _UnixConnection(http.client.HTTPConnection):
    socket_path = ""

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.socket_path)

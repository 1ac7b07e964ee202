"""What h11 makes of the same bytes: another reader of HTTP, by other people."""

from __future__ import annotations

from enum import StrEnum

import h11
import msgspec

_MOST = 2**24


class Request(msgspec.Struct):
    method: bytes
    target: bytes
    body: bytes = b""
    whole: bool = False


class Verdict(StrEnum):
    WHOLE = "whole"
    PART = "part"
    """It could still become whole."""
    MALFORMED = "malformed"


class Response(msgspec.Struct):
    status: int = 0
    body: bytes = b""
    verdict: Verdict = Verdict.PART
    reusable: bool = False
    """The connection may serve another request: nothing is left on it."""


def requests_in(data: bytes) -> list[Request]:
    """The requests that begin in these bytes, up to where they are no HTTP any more."""
    found: list[Request] = []
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=_MOST)
    connection.receive_data(data)
    while True:
        try:
            event = connection.next_event()
        except h11.RemoteProtocolError:
            return found
        if isinstance(event, h11.Request):
            found.append(Request(bytes(event.method), bytes(event.target)))
        elif isinstance(event, h11.Data):
            found[-1].body += bytes(event.data)
        elif isinstance(event, h11.EndOfMessage):
            found[-1].whole = True
            connection.send(h11.Response(status_code=200, headers=[("content-length", "0")]))
            connection.send(h11.EndOfMessage())
            if connection.our_state is not h11.DONE:
                return found
            connection.start_next_cycle()
        else:
            return found


def response_in(data: bytes, *, closed: bool) -> Response:
    """The answer to a POST in these bytes."""
    found = Response()
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=_MOST)
    connection.send(h11.Request(method="POST", target="/", headers=[("host", "x")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(data)
    if closed:
        connection.receive_data(b"")
    while True:
        try:
            event = connection.next_event()
        except h11.RemoteProtocolError:
            found.verdict = Verdict.MALFORMED
            return found
        if isinstance(event, h11.Response):
            found.status = event.status_code
        elif isinstance(event, h11.Data):
            found.body += bytes(event.data)
        elif isinstance(event, h11.EndOfMessage):
            found.verdict = Verdict.WHOLE
            alive = connection.our_state is h11.DONE and connection.their_state is h11.DONE
            found.reusable = alive and not connection.trailing_data[0]
            return found
        elif not isinstance(event, h11.InformationalResponse):
            return found

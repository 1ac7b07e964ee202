"""What h11 makes of the same bytes: another reader of HTTP, by other people."""

from __future__ import annotations

import re
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
    """The connection may serve another request: nothing is left on it but empty lines, which
    llhttp skips too."""


def requests_in(data: bytes) -> list[Request]:
    """The requests that begin in these bytes, up to where they are no HTTP any more. Empty lines
    before a request are skipped here: h11 does not know them, RFC 9112 (2.2) does.
    """
    found: list[Request] = []
    data = _short_zeros(data)
    while data := data.lstrip(b"\r\n"):
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=_MOST)
        connection.receive_data(data)
        read = _request_in(connection)
        if read is None:
            return found
        found.append(read)
        if not read.whole:
            return found
        data = connection.trailing_data[0]
    return found


_ZEROS = re.compile(rb"(?i)(\r\ncontent-length:[ \t]*|\r\n)0{16,}(?=[0-9a-f]*[ \t]*[\r;])")


def _short_zeros(data: bytes) -> bytes:
    """h11 takes no length of more than 20 digits, also where the first are zeros."""
    return _ZEROS.sub(rb"\g<1>0", data)


def _request_in(connection: h11.Connection) -> Request | None:
    found = None
    while True:
        try:
            event = connection.next_event()
        except h11.RemoteProtocolError:
            return found
        if isinstance(event, h11.Request):
            found = Request(bytes(event.method), bytes(event.target))
        elif isinstance(event, h11.Data) and found is not None:
            found.body += bytes(event.data)
        else:
            if isinstance(event, h11.EndOfMessage) and found is not None:
                found.whole = True
            return found


def response_in(data: bytes, *, closed: bool) -> Response:
    """The answer to a POST in these bytes."""
    found = Response()
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=_MOST)
    connection.send(h11.Request(method="POST", target="/", headers=[("host", "x")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(_final(data))
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
            found.reusable = alive and not connection.trailing_data[0].strip(b"\r\n")
            return found
        elif not isinstance(event, h11.InformationalResponse):
            return found


_CODING = re.compile(rb"(?i)\r\ntransfer-encoding:([^\r\n]*)")
_REASON = re.compile(rb"\A(HTTP/1\.\d \d{3}) [^\r\n]*")
"""What follows a status nobody reads, and llhttp minds less than h11 what it is."""
_INTERIM = re.compile(rb"[\r\n]*HTTP/1\.\d 1\d\d[^\r\n]*\r\n(?:[^\r\n]+\r\n)*\r\n")


def _final(data: bytes) -> bytes:
    """Behind the interim answers, and behind empty lines, which llhttp skips.

    Where the last coding is `chunked` llhttp reads chunks, whatever is before it; h11 knows only
    `chunked` once. Where the answer ends is the same.
    """
    while interim := _INTERIM.match(data):
        data = data[interim.end() :]
    data = _short_zeros(_REASON.sub(rb"\g<1> X", data.lstrip(b"\r\n"), count=1))
    head, end, body = data.partition(b"\r\n\r\n")
    codings = b",".join(_CODING.findall(head)).split(b",")
    if len(codings) > 1 and codings[-1].strip().lower() == b"chunked":
        head = _CODING.sub(b"", head) + b"\r\ntransfer-encoding: chunked"
    return head + end + body

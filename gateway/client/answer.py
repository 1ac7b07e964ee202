"""The bytes of an answer's head, for answers that the gateway writes itself. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from http import HTTPStatus

from gateway.errors import ApiError

JSON = b"application/json"
Headers = Iterable[tuple[bytes, bytes]]

_LENGTHS = tuple(b"%x\r\n" % length for length in range(1024))
"""What begins a chunk, for those of events: to write it anew costs more than the event."""


def answer_head(
    status: int,
    content_type: bytes,
    request_id: str,
    headers: Headers = (),
    *,
    length: int | None,
    keep_alive: bool,
    lines: bytes = b"",
) -> bytes:
    """The status line and headers of an answer; `length` None is a stream. `lines` are headers as
    they are sent, each with its end.
    """
    head = b"%b%b\r\n" % (_opening(status, content_type, length is None, keep_alive),
                          request_id.encode())  # fmt: skip
    if length is not None:
        head += b"content-length: %d\r\n" % length
    for header in headers:
        head += b"%b: %b\r\n" % header
    return head + lines + b"\r\n"


def chunk(data: bytes) -> bytes:
    """A part of a body whose length nobody knows yet."""
    length = len(data)
    if length < len(_LENGTHS):
        return b"%b%b\r\n" % (_LENGTHS[length], data)
    return b"%x\r\n%b\r\n" % (length, data)


def error_answer(error: ApiError, request_id: str, headers: Headers, *, keep_alive: bool) -> bytes:
    """A whole answer that tells an error."""
    body = error.body()
    headers = (*error.headers(), *headers)
    length = len(body)
    return (
        answer_head(error.status, JSON, request_id, headers, length=length, keep_alive=keep_alive)
        + body
    )


@lru_cache(256)
def _opening(status: int, content_type: bytes, stream: bool, keep_alive: bool) -> bytes:
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}".encode()]
    lines.append(b"content-type: " + content_type)
    if stream:
        lines.append(b"cache-control: no-cache")
        if keep_alive:
            lines.append(b"transfer-encoding: chunked")
    if not keep_alive:
        lines.append(b"connection: close")
    return b"\r\n".join([*lines, b"x-request-id: "])

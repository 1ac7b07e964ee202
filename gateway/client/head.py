"""The head of a client's request: judged by llhttp, then read for what the gateway must know.

Strict on purpose. Whatever two servers could understand differently (two lengths, a length beside
chunks, folded lines, a bare LF, chunks in HTTP/1.0, a missing or doubled Host, two Authorization
headers) is refused: that is what request smuggling is made of. Pure.
"""

from __future__ import annotations

import httptools
import msgspec
from msgspec import structs

from gateway import errors
from gateway.openai.request import ENDPOINT_OF_PATH, Endpoint

HEAD_BYTES_MAX = 32 * 1024
"""Of the request line and all headers."""

_ENDPOINT_OF_LINE = {
    f"POST {path} HTTP/{version}".encode(): endpoint
    for path, endpoint in ENDPOINT_OF_PATH.items()
    for version in ("1.0", "1.1")
}


LENGTH_DIGITS_MAX = 15
"""Of a Content-Length that is not judged anew: so many fit every integer."""


class Head(msgspec.Struct, frozen=True, gc=False):
    """What decides how a request is read and who answers it."""

    raw: bytes
    endpoint: Endpoint | None
    """None: not a plain POST to an inference route."""
    http_1_1: bool
    keep_alive: bool
    body_bytes: int | None
    """None: the body comes in chunks."""
    authorization: bytes
    origin: bytes
    expects_continue: bool
    session_id: str
    """Of the header x-session-id; empty if there is none."""
    repeatable: bool
    """It has an Idempotency-Key."""
    length_at: int
    """Where in `raw` the digits of its Content-Length begin; 0 if it has none."""
    length_ends: int


class _NoCallbacks:
    """Nothing is called back: the parser only judges."""

    on_body = on_chunk_complete = on_chunk_header = on_header = on_headers_complete = None
    on_message_begin = on_message_complete = on_status = on_url = None


_NO_CALLBACKS = _NoCallbacks()


def head_like(last: Head, raw: bytes) -> Head | None:
    """A client says the same again and again, of bodies of other lengths: then nothing else is to
    be judged or read anew. None: this is another head than its last.
    """
    if raw == last.raw:
        return last
    at, ended = last.length_at, last.length_ends
    ends = len(raw) - len(last.raw) + ended
    if not at or raw[:at] != last.raw[:at] or raw[ends:] != last.raw[ended:]:
        return None
    length = raw[at:ends]
    if len(length) > LENGTH_DIGITS_MAX or not length.isdigit():
        return None
    return structs.replace(last, raw=raw, body_bytes=int(length), length_ends=ends)


def read_head(raw: bytes) -> Head:
    """Read a whole head, up to its empty line. Raises ApiError (400)."""
    _judge(raw)
    line = raw[: raw.find(b"\r\n")]
    http_1_1 = line.endswith(b" HTTP/1.1")
    if not http_1_1 and not line.endswith(b" HTTP/1.0"):
        raise errors.bad_http("only HTTP/1.1 and HTTP/1.0 are spoken here")
    endpoint = _ENDPOINT_OF_LINE.get(line)
    if endpoint is None and line.count(b" ") != 2:
        raise errors.bad_http("a request line is three words with one space between them")
    lower = raw.lower()
    if lower.count(b"\r\nhost:") != 1 and (http_1_1 or b"\r\nhost:" in lower):
        raise errors.bad_http("there must be one Host header")
    if lower.count(b"\r\nauthorization:") > 1:
        raise errors.bad_http("there may be one Authorization header, not two")
    at = lower.find(b"\r\ncontent-length:")
    length_at = length_ends = 0
    if at >= 0:
        length_ends = lower.find(b"\r\n", at + 17)
        length = lower[at + 17 : length_ends].lstrip()
        length_at = length_ends - len(length)
        body_bytes: int | None = int(length)
    else:
        body_bytes = _unsized_body(lower, http_1_1)
    closes = b"\r\nconnection:" in lower and b"close" in _value(lower, lower, b"\r\nconnection:")
    origin = session_id = expects = b""  # to look before asking for a value: most have none of them
    if b"\r\norigin:" in lower:
        origin = _value(raw, lower, b"\r\norigin:")
    if b"\r\nx-session-id:" in lower:
        session_id = _value(raw, lower, b"\r\nx-session-id:")
    if b"\r\nexpect:" in lower:
        expects = _value(lower, lower, b"\r\nexpect:")
    return Head(
        raw,
        endpoint,
        http_1_1,
        http_1_1 and not closes,
        body_bytes,
        _value(raw, lower, b"\r\nauthorization:"),
        origin,
        http_1_1 and expects == b"100-continue",
        session_id.decode("latin-1"),
        b"\r\nidempotency-key:" in lower,
        length_at,
        length_ends,
    )


def judge_partial(raw: bytes) -> None:
    """Refuse the beginning of a head as early as it is none. Raises ApiError (400, 431)."""
    _judge(raw)
    if len(raw) > HEAD_BYTES_MAX:
        raise errors.head_too_large(HEAD_BYTES_MAX)


def _judge(raw: bytes) -> None:
    try:
        httptools.HttpRequestParser(_NO_CALLBACKS).feed_data(raw)
    except httptools.HttpParserUpgrade:
        return  # an upgrade is an offer, and it is not taken up
    except httptools.HttpParserError as error:
        raise errors.bad_http(str(error)) from None


def _unsized_body(lower: bytes, http_1_1: bool) -> int | None:
    """Of a head without Content-Length."""
    coding = _value(lower, lower, b"\r\ntransfer-encoding:")
    if not coding:
        return 0
    if not http_1_1 or coding != b"chunked":
        raise errors.bad_http("the only Transfer-Encoding taken here is 'chunked', in HTTP/1.1")
    return None


def _value(raw: bytes, lower: bytes, name: bytes) -> bytes:
    """The value of a header; empty if it is not there."""
    at = lower.find(name)
    if at < 0:
        return b""
    at += len(name)
    return raw[at : raw.find(b"\r\n", at)].strip()

"""What a strict client makes of the bytes it was sent: whole answers, one after the other."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

import msgspec

_STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) [ -~]*\Z")
_HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+): ?([\t -~\x80-\xff]*)\Z")
_CHUNK = re.compile(rb"([0-9a-f]+)\r\n")


class MalformedAnswerError(ValueError):
    """No client could be sure what this says."""


class Answer(msgspec.Struct):
    status: int
    headers: dict[bytes, bytes]
    body: bytes
    whole: bool
    """It ended as its framing says; one that ends with its connection, when that did."""
    chunks: list[bytes] = []

    @property
    def ends_connection(self) -> bool:
        return self.headers.get(b"connection", b"").lower() == b"close"

    @property
    def error(self) -> dict[str, object]:
        """The object of an OpenAI error. Raises MalformedAnswerError for anything else."""
        try:
            found = json.loads(self.body)["error"]
        except (ValueError, KeyError, TypeError) as error:
            raise MalformedAnswerError(f"not an OpenAI error: {self.body[:200]!r}") from error
        if set(found) != {"message", "type", "param", "code"} or not found["message"]:
            raise MalformedAnswerError(f"not an OpenAI error: {found}")
        return found


def read_answers(raw: bytes, methods: Sequence[bytes], *, closed: bool) -> list[Answer]:
    """The final answers in what a client was sent; interim ones are judged and left out.

    `methods` are those of the requests, in order: HEAD has no body. `closed`: no more will come.
    Raises MalformedAnswerError.
    """
    found: list[Answer] = []
    at = 0
    while at < len(raw):
        head_end = raw.find(b"\r\n\r\n", at)
        if head_end < 0:
            found.append(Answer(0, {}, b"", whole=False))
            break
        answer = _head(raw[at:head_end])
        at = head_end + 4
        if answer.status < 200:
            if answer.headers:
                raise MalformedAnswerError(f"an interim answer with {answer.headers}")
            continue
        method = methods[len(found)] if len(found) < len(methods) else b""
        at = _body(answer, raw, at, bodiless=method == b"HEAD", closed=closed)
        found.append(answer)
        if answer.ends_connection and at < len(raw):
            raise MalformedAnswerError(f"bytes behind the last answer: {raw[at : at + 100]!r}")
    return found


def _head(raw: bytes) -> Answer:
    line, *lines = raw.split(b"\r\n")
    status = _STATUS.match(line)
    if status is None:
        raise MalformedAnswerError(f"not a status line: {line!r}")
    headers: dict[bytes, bytes] = {}
    for each in lines:
        header = _HEADER.match(each)
        if header is None:
            raise MalformedAnswerError(f"not a header: {each!r}")
        name = header[1].lower()
        if name in headers and name in (b"content-length", b"transfer-encoding", b"connection"):
            raise MalformedAnswerError(f"{name!r} comes twice")
        headers[name] = header[2]
    return Answer(int(status[1]), headers, b"", whole=False)


def _body(answer: Answer, raw: bytes, at: int, *, bodiless: bool, closed: bool) -> int:
    """Read the body into the answer; returns where the next one begins."""
    length, coding = (answer.headers.get(n) for n in (b"content-length", b"transfer-encoding"))
    if length is not None and coding is not None:
        raise MalformedAnswerError("a length and a coding")
    if bodiless or answer.status in (204, 304):
        answer.whole = True
        # A client that asked HEAD reads no body; on a connection that ends none can hurt.
        return min(len(raw), at + int(length or 0)) if answer.ends_connection else at
    if coding is not None:
        if coding != b"chunked":
            raise MalformedAnswerError(f"coded as {coding!r}")
        return _chunks(answer, raw, at)
    if length is None:
        if not answer.ends_connection:
            raise MalformedAnswerError("an answer without end")
        answer.body, answer.whole = raw[at:], closed
        return len(raw)
    end = at + int(length)
    answer.body, answer.whole = raw[at:end], end <= len(raw)
    return min(end, len(raw))


def _chunks(answer: Answer, raw: bytes, at: int) -> int:
    while at < len(raw):
        line_end = raw.find(b"\r\n", at)
        if line_end < 0:
            break
        size = _CHUNK.fullmatch(raw, at, line_end + 2)
        if size is None:
            raise MalformedAnswerError(f"not a chunk: {raw[at : at + 40]!r}")
        start, count = size.end(), int(size[1], 16)
        data, ending = raw[start : start + count], raw[start + count : start + count + 2]
        if not b"\r\n".startswith(ending):
            raise MalformedAnswerError(f"a chunk that goes on: {ending!r}")
        answer.chunks.append(data)
        if len(ending) < 2:
            break
        at = start + count + 2
        if not count:
            answer.whole = True
            answer.body = b"".join(answer.chunks)
            return at
    answer.body = b"".join(answer.chunks)
    return len(raw)

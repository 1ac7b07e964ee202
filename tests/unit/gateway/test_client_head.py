"""Heads of requests, read. What is refused, on the wire: integration/test_connection.py."""

from __future__ import annotations

import pytest

from gateway.client.head import HEAD_BYTES_MAX, head_like, judge_partial, read_head
from gateway.errors import ApiError
from gateway.openai.request import Endpoint

LINE = b"POST /v1/chat/completions HTTP/1.1\r\n"


def head(*lines: bytes, line: bytes = LINE) -> bytes:
    return line + b"".join(each + b"\r\n" for each in (b"Host: x", *lines)) + b"\r\n"


def test_what_inference_needs_is_read():
    read = read_head(
        head(b"AUTHORIZATION:  Bearer Sk ", b"content-LENGTH: 12", b"Origin: https://A")
    )
    assert read.endpoint is Endpoint.CHAT
    assert read.authorization == b"Bearer Sk"
    assert read.body_bytes == 12
    assert read.origin == b"https://A"
    assert (read.http_1_1, read.keep_alive, read.expects_continue) == (True, True, False)


@pytest.mark.parametrize(
    ("lines", "field", "value"),
    [
        ([], "body_bytes", 0),
        ([b"Transfer-Encoding: Chunked"], "body_bytes", None),
        ([b"X: content-length: 5"], "body_bytes", 0),
        ([b"X-Content-Length: 5"], "body_bytes", 0),
        ([b"Expect: 100-Continue"], "expects_continue", True),
        ([b"Expect: x"], "expects_continue", False),
        ([b"Connection: close"], "keep_alive", False),
        ([b"Connection: x, Close"], "keep_alive", False),
        ([b"X-Authorization: Bearer x"], "authorization", b""),
        ([b"Authorization:"], "authorization", b""),
    ],
)
def test_each_header_means_what_it_says(lines, field, value):
    assert getattr(read_head(head(*lines)), field) == value


@pytest.mark.parametrize(
    "line",
    [
        b"GET /v1/chat/completions HTTP/1.1\r\n",
        b"POST /v1/chat/completions?a HTTP/1.1\r\n",
        b"POST /v1/chat/completions/ HTTP/1.1\r\n",
        b"POST http://x/v1/chat/completions HTTP/1.1\r\n",
    ],
)
def test_only_the_plain_form_takes_the_short_way(line):
    assert read_head(head(line=line)).endpoint is None


def test_http_1_0_is_one_request_a_connection():
    read = read_head(head(b"Connection: keep-alive", line=LINE.replace(b"1.1", b"1.0")))
    assert read.endpoint is Endpoint.CHAT
    assert not read.http_1_1
    assert not read.keep_alive


def test_part_of_a_head_is_refused_as_soon_as_it_is_none():
    whole = head(b"X: y")
    for end in range(len(whole)):
        judge_partial(whole[:end])
    for wrong, status in [(b"GET / HTTP/1.1\n", 400), (b"\x16\x03\x01", 400), (b"SSH-2.0", 400)]:
        with pytest.raises(ApiError) as refused:
            judge_partial(wrong)
        assert refused.value.status == status
    with pytest.raises(ApiError) as refused:
        judge_partial(head(b"X: " + b"y" * HEAD_BYTES_MAX)[:-2])
    assert refused.value.status == 431


LAST = head(b"Authorization: Bearer k", b"content-length:  12", b"X: y")


@pytest.mark.parametrize("length", [b"0", b"7", b"12", b"13", b"1048576", b"007"])
def test_a_head_that_differs_in_its_length_alone_is_read_as_if_it_were_new(length):
    raw = LAST.replace(b"12", length)
    known = read_head(LAST)
    for _ in range(2):
        known = head_like(known, raw)
        assert known == read_head(raw)


@pytest.mark.parametrize(
    "raw",
    [
        LAST.replace(b"12", b""),
        LAST.replace(b"12", b"1 2"),
        LAST.replace(b"12", b"-1"),
        LAST.replace(b"12", b"1" * 16),
        LAST.replace(b"12", b"1\r\nA: 2"),
        LAST.replace(b"X: y", b"X: z"),
        LAST.replace(b"X: y\r\n", b""),
        LAST.replace(b"Bearer k", b"Bearer l"),
        LAST[:-2],
        LAST[1:],
        LAST[:9],
    ],
)
def test_any_other_head_is_judged_anew(raw):
    assert head_like(read_head(LAST), raw) is None


def test_a_head_without_a_length_is_like_itself_alone():
    raw = head(b"Transfer-Encoding: chunked")
    assert head_like(read_head(raw), raw) == read_head(raw)
    assert head_like(read_head(raw), head(b"Transfer-Encoding: chunke", b"d: 1")) is None

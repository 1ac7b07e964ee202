"""Chunked bodies, in any cut."""

from __future__ import annotations

import pytest

from gateway.client.body import ChunkedBody
from gateway.errors import ApiError

CHUNKED = b"3\r\nabc\r\n5;x=y\r\n\r\n0\r\n\r\nA\r\n0123456789\r\n0\r\nTrailer: z\r\n\r\n"
BODY = b"abc\r\n0\r\n0123456789"


@pytest.mark.parametrize("step", [1, 2, 3, 7, 1000])
def test_any_cut_gives_the_same_body(step):
    chunked = ChunkedBody()
    body = b""
    for start in range(0, len(CHUNKED), step):
        assert not chunked.complete
        body += chunked.feed(CHUNKED[start : start + step])
    assert (body, chunked.complete, chunked.overrun) == (BODY, True, False)


@pytest.mark.parametrize("more", [b"GET / HTTP/1.1\r\n\r\n", b"POST", b"\0", CHUNKED])
def test_what_follows_is_noticed_and_is_no_part_of_it(more):
    chunked = ChunkedBody()
    assert chunked.feed(CHUNKED + more) == BODY
    assert chunked.overrun


@pytest.mark.parametrize("wrong", [b"x", b"3\nabc", b"3\r\nabcd", b"-1\r\n", b"3 \r\nabc\r\n"])
def test_malformed_chunks_are_refused(wrong):
    with pytest.raises(ApiError) as refused:
        ChunkedBody().feed(wrong)
    assert refused.value.code == "invalid_http"

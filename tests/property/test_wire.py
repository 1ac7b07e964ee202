"""Both sides of the wire under garbage: nothing raises, and where bytes are cut changes nothing.

The transports are in memory, so that many thousand inputs can be played; real sockets carry the
same connections in tests/integration.
"""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.client.connection import ClientConnection
from gateway.client.request import Request
from gateway.nodes.connection import NodeConnection
from gateway.timeouts import ClientTimeouts

REQUESTS = [
    b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello",
    b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"3\r\nhel\r\n2;a=b\r\nlo\r\n0\r\nX: y\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: keep-alive\r\n\r\n",
    b"POST /v1/embeddings HTTP/1.0\r\nContent-Length: 2\r\n\r\nhi",
    b"\r\nPOST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 0\r\n\r\n",
]
ANSWERS = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"3\r\nhel\r\n2\r\nlo\r\n0\r\nX: y\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 400 Bad\r\nContent-Length: 2\r\n\r\nno",
    b"HTTP/1.0 200 OK\r\n\r\nto the end",
    b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 3\r\n\r\nbye",
]
SPICE = [
    b"\r\n", b"\n", b"\r", b"\0", b" ", b":", b";", b"0\r\n\r\n", b"HTTP/1.1", b"\xff",
    b"Host: y\r\n", b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n",
    b"Connection: close\r\n", b"Connection: upgrade\r\nUpgrade: x\r\n", b"ffffffffffffffff\r\n",
]  # fmt: skip


@st.composite
def spoiled(draw, valid):
    """Messages that are well formed but for a few cuts, doublings and insertions."""
    data = b"".join(draw(st.lists(st.sampled_from(valid), min_size=1, max_size=3)))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(data)))
        to = draw(st.integers(at, min(len(data), at + 12)))
        new = draw(st.sampled_from([b"", data[at:to] * 2, *SPICE]) | st.binary(max_size=6))
        data = data[:at] + new + data[to:]
    return data


cuts = st.lists(st.integers(0, 400), max_size=8)


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    return [piece for a, b in itertools.pairwise(edges) if (piece := data[a:b])]


class Transport:
    """In memory; reads nothing, remembers what is written."""

    def __init__(self) -> None:
        self.written = b""
        self.closing = False

    def write(self, data: bytes) -> None:
        assert not self.closing
        self.written += data

    def close(self) -> None:
        self.closing = True

    abort = close

    def write_eof(self) -> None:
        self.closing = True

    def can_write_eof(self) -> bool:
        return True

    def is_closing(self) -> bool:
        return self.closing

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int, low: int) -> None: ...

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


class Loop:
    def __init__(self) -> None:
        self.soon: list = []

    def call_soon(self, callback) -> None:
        self.soon.append(callback)

    def run(self) -> None:
        while self.soon:
            self.soon.pop(0)()


class Echo(Request):
    """Takes a body; the listener answers it once it is whole."""

    def __init__(self, seen: list, connection: ClientConnection) -> None:
        self._seen, self._connection, self._body = seen, connection, b""

    def body(self, data: bytes, complete: bool) -> None:
        self._body += data
        if complete:
            self._seen.append(self._body)
            self._connection.answered()


class Listener:
    """Notes what a connection understood."""

    body_bytes_max = 1000

    def body_bytes_max_of(self, head):
        return self.body_bytes_max

    now_ns = 0
    timeouts = ClientTimeouts(head_ns=1, body_ns=1, idle_ns=1, stall_ns=1)

    def __init__(self) -> None:
        self.seen: list = []

    def opened(self, connection) -> None: ...

    closed = opened

    def refused(self, endpoint, error) -> None:
        self.seen.append(error.status)

    def new_request_id(self) -> str:
        return "req_1"

    def cors(self, origin: bytes) -> tuple:
        return ()

    def begin(self, connection, head, body) -> None:
        self.seen.append(head)
        connection.request = Echo(self.seen, connection)
        if body is not None:
            connection.request.body(body, True)


def understood(parts: list[bytes]) -> list:
    """What a connection makes of a client's bytes: heads, bodies, the refusal that ends it."""
    listener, loop, transport = Listener(), Loop(), Transport()
    connection = ClientConnection(listener, loop)
    connection.connection_made(transport)
    for part in parts:
        connection.data_received(part)
        loop.run()
    connection.connection_lost(None)
    assert connection.request is None
    return listener.seen


@given(spoiled(REQUESTS), cuts)
def test_client_bytes_mean_the_same_however_they_are_cut(data, cuts):
    whole = understood([data])
    cut = understood(pieces(data, cuts))
    behind_chunks = any(getattr(seen, "body_bytes", 0) is None for seen in whole)
    if behind_chunks:  # what follows chunks in one read ends the connection
        shorter = min(len(whole), len(cut))
        assert whole[:shorter] == cut[:shorter]
    else:
        assert whole == cut


@given(st.binary(max_size=300), cuts)
def test_client_noise_is_refused_once_at_most(data, cuts):
    seen = understood(pieces(data, cuts))
    assert seen in ([], [400])


class Call:
    """Notes what a node's answer came to."""

    def __init__(self) -> None:
        self.listener = self
        self.seen: list = []
        self.content = b""

    def node_head(self, status: int) -> None:
        self.seen.append(status)

    def node_body(self, data: bytes) -> None:
        assert data
        self.content += data

    def node_end(self) -> None: ...

    def node_failed(self, termination) -> None: ...

    def ended(self) -> None:
        self.seen.append("ended")

    def lost(self, *, answered: bool) -> None:
        self.seen.append("lost")


class Pool:
    def __init__(self) -> None:
        self.idle: list = []

    def give_back(self, connection) -> None:
        self.idle.append(connection)

    def forget(self, connection) -> None: ...


def answered(parts: list[bytes]) -> tuple:
    """What a connection makes of a node's bytes, and whether it would be used again."""
    pool, call, transport = Pool(), Call(), Transport()
    connection = NodeConnection(pool)
    connection.connection_made(transport)
    connection.send(call, b"request")
    for part in parts:
        if not transport.closing:
            connection.data_received(part)
    if not transport.closing:
        connection.eof_received()
    connection.connection_lost(None)
    return call.seen, call.content, bool(pool.idle) and not transport.closing


@given(spoiled(ANSWERS), cuts)
def test_node_bytes_mean_the_same_however_they_are_cut(data, cuts):
    whole, cut = answered([data]), answered(pieces(data, cuts))
    assert whole == cut
    seen, _, _ = whole
    assert seen[-1] in ("ended", "lost")
    assert seen.count("ended") + seen.count("lost") == 1


@given(st.binary(max_size=300), cuts)
def test_node_noise_is_a_lost_call(data, cuts):
    assert answered(pieces(data, cuts)) == (["lost"], b"", False)


@pytest.mark.parametrize("answer", ANSWERS[:3])
def test_sound_answer_leaves_its_connection_for_the_next(answer):
    for step in (1, 3, 1000):
        parts = [answer[at : at + step] for at in range(0, len(answer), step)]
        seen, _, reusable = answered(parts)
        assert seen[-1] == "ended"
        assert reusable

"""A client that never stops asking, and reads every answer: what waits for its turn is bounded."""

from __future__ import annotations

import pytest

from gateway.client.connection import AHEAD_BYTES_MAX

from .books import SECRET, Durability
from .script import READ_BYTES_MAX
from .world import world

MORE = b" HTTP/1.1\r\nHost: x\r\nX: %b\r\n" % (b"x" * 4000)
REQUESTS = {
    "refused": b"POST /v1/chat/completions" + MORE + b"Content-Length: 2\r\n\r\n{}",
    "another route": b"GET /healthz" + MORE + b"\r\n",
    "the long way": b"POST /v1/completions?a" + MORE + b"Authorization: Bearer %b\r\n"
    b"Content-Length: 2\r\n\r\n{}" % SECRET.encode(),
}
READS = 32
"""libuv reads a socket so often in one turn."""


@pytest.mark.parametrize("kind", REQUESTS)
def test_requests_ahead_do_not_pile_up(kind):
    request = REQUESTS[kind]
    flood = request * (READ_BYTES_MAX // len(request))
    with world() as made:
        made.reset(1, Durability.NOW)
        wire = made.client(reads_all=True)
        asked = 0
        while made.loop.run_turn() or asked < READS:
            for _ in range(READS):
                if wire.heard and asked < READS:
                    wire.deliver(flood)
                    asked += 1
                    assert wire.protocol.held_bytes <= AHEAD_BYTES_MAX + len(flood)
        answers = bytes(wire.sent).count(b"HTTP/1.1 ")
        assert answers == asked * flood.count(request)
        assert not made.loop.faults

"""A client that reads slowly, or not at all, costs bounded memory and holds nobody up."""

from __future__ import annotations

import asyncio
import socket

import pytest
from raw_client import RawClient
from raw_node import RawNode, ok
from served import configuration, eventually, serve

from gateway.nodes.connection import NodeConnection
from metering.charge import ChargeOutcome

pytestmark = pytest.mark.anyio
ASKED = {"model": "fake", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 12}
EVENT = b'data: {"choices":[{"index":0,"delta":{"content":"%b"}}]}\n\n' % (b"x" * 1000)
USAGE = b'"usage":{"prompt_tokens":7,"completion_tokens":2}'
CLOSING = b'data: {"choices":[],' + USAGE + b"}\n\ndata: [DONE]\n\n"
HELD_BYTES_MAX = 16 * 1024 * 1024
"""What the kernel's buffers on both sides and ours may hold of one answer."""


class Flood(RawNode):
    """Streams `events` events as fast as it is read, to every request."""

    def __init__(self, events: int) -> None:
        super().__init__()
        self._events = events
        self.sent_bytes = 0

    async def _serve(self, reader, writer):
        self.open += 1
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(int(head.partition(b"content-length: ")[2].split()[0]))
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            for _ in range(self._events):
                writer.write(EVENT)
                await writer.drain()
                self.sent_bytes += len(EVENT)
            writer.write(CLOSING)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self.open -= 1
            writer.close()


async def settled_bytes(node: Flood) -> int:
    """What the node could send until nobody took more."""
    before = -1
    while before != node.sent_bytes or not before:
        before = node.sent_bytes
        await asyncio.sleep(0.2)
    return before


@pytest.mark.parametrize("driver", ["protocol", "asgi"])
async def test_slow_reader_stops_the_node_and_still_gets_everything(tmp_path, driver):
    async with (
        Flood(30_000) as node,
        serve(tmp_path, configuration([node], engine="openai"), driver=driver) as served,
        await RawClient.connect(served, receive_bytes=64 * 1024) as client,
    ):
        client.send(client.post({**ASKED, "stream": True}))
        assert await settled_bytes(node) < HELD_BYTES_MAX
        other = await served.client.get("/healthz", timeout=10)
        assert other.status_code == 200
        answer = await client.answer()
        assert answer.body.count(b"data: {") == 30_000
        assert answer.body.endswith(b"data: [DONE]\n\n")
        (charge,) = await served.charges(1)
        assert charge.completion_tokens == 2


async def test_reader_that_stopped_is_dropped_and_the_node_with_it(tmp_path):
    async with Flood(30_000) as node:
        config = configuration([node], engine="openai", server="client_stall_timeout_s = 1")
        async with (
            serve(tmp_path, config) as served,
            await RawClient.connect(served, receive_bytes=64 * 1024) as client,
        ):
            client.send(client.post({**ASKED, "stream": True}))
            await client.reader.readuntil(b"\r\n\r\n")
            (charge,) = await served.charges(1)
            assert charge.outcome is ChargeOutcome.CLIENT_GONE
            await eventually(lambda: node.open, lambda count: count == 0)
            assert not busy_connections(served)


WHOLE_BYTES = 30_000_000
WHOLE = b'{"choices":[{"index":0,"message":{"content":"%b"}}],%b}' % (b"x" * WHOLE_BYTES, USAGE)


async def test_huge_whole_answer_to_a_slow_reader(tmp_path):
    """It is charged once it is whole; what waits for the client is that answer and no more."""
    async with (
        RawNode(ok(WHOLE)) as node,
        serve(tmp_path, configuration([node])) as served,
        await RawClient.connect(served, receive_bytes=64 * 1024) as client,
    ):
        request = client.post(ASKED)
        client.send(request * 4)
        await served.charges(1)
        (connection,) = served.server.server_state.connections
        assert connection.transport.get_write_buffer_size() <= len(WHOLE) + 1000
        assert len(node.requests) == 1  # the next one waits until this answer is read
        for _ in range(4):
            assert (await client.answer()).body == WHOLE
        assert len(await served.charges(4)) == 4


async def test_huge_whole_answer_that_nobody_reads_is_let_go(tmp_path):
    async with RawNode(ok(WHOLE)) as node:
        config = configuration([node], server="client_stall_timeout_s = 1")
        async with (
            serve(tmp_path, config) as served,
            await RawClient.connect(served, receive_bytes=64 * 1024) as client,
        ):
            client.send(client.post(ASKED))
            await served.charges(1)
            connections = served.server.server_state.connections
            await eventually(lambda: len(connections), lambda count: count == 0)


async def test_no_nagle_on_either_side(tmp_path, monkeypatch):
    """With it an event would wait for the last one's acknowledgement: 40 ms."""
    to_node = []
    made = NodeConnection.connection_made
    monkeypatch.setattr(
        NodeConnection, "connection_made", lambda self, t: (to_node.append(t), made(self, t))[1]
    )
    async with (
        RawNode(ok(b'{"choices":[],' + USAGE + b"}")) as node,
        serve(tmp_path, configuration([node])) as served,
        await RawClient.connect(served) as client,
    ):
        client.send(client.post(ASKED))
        await client.answer()
        (ours,) = served.server.server_state.connections
        for transport in (ours.transport, *to_node):
            sock = transport.get_extra_info("socket")
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
        assert len(to_node) == 1


def busy_connections(served) -> list:
    return [c for c in served.server.server_state.connections if c.request is not None]

"""Nodes' load is read over the connections of requests: plain, TLS and Unix sockets; and never for
long, whatever a node does.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import random
import socket
import ssl
import threading
import time

import pytest
from msgspec import structs
from served import configuration, eventually, serve

import gateway.nodes.load_reader as load_reader
from gateway.nodes.door import Door
from gateway.nodes.load_reader import LoadReader
from gateway.nodes.upstream import Upstream
from router.policy import learned_policy
from router.registry import Registry
from router.router import Router
from router.types import NodeRecord
from serving.fake_node import FakeNode
from serving.simulated_engine import Pace

pytestmark = pytest.mark.anyio
TOLD = (
    b'vllm:num_requests_running{model_name="m"} 9\nvllm:num_requests_waiting{model_name="m"} 4\n'
    b'vllm:cache_config_info{block_size="16",num_gpu_blocks="100"} 1.0\n'
)


class Metrics:
    """A node of which only `/metrics` is asked. `pause_s` between the bytes of its answer."""

    def __init__(self, *, pause_s: float = 0, status: int = 200) -> None:
        self.pause_s = pause_s
        self.status = status
        self.heads: list[bytes] = []
        self.connections = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with contextlib.suppress(asyncio.IncompleteReadError, OSError, RuntimeError):
            while True:
                self.heads.append(await reader.readuntil(b"\r\n\r\n"))
                head = b"HTTP/1.1 %d X\r\ncontent-length: %d\r\n\r\n" % (self.status, len(TOLD))
                answer = head + TOLD
                for at in range(len(answer)) if self.pause_s else ():
                    writer.write(answer[at : at + 1])
                    await writer.drain()
                    await asyncio.sleep(self.pause_s)
                if not self.pause_s:
                    writer.write(answer)
                    await writer.drain()
        writer.close()


@contextlib.asynccontextmanager
async def reading(url: str, *, key: str = "", trust: ssl.SSLContext | None = None):
    """A router over one node, that the node's load is told."""
    record = NodeRecord(node_id="n", supplier_id="s", url=url, model="m", capacity=64)
    registry = Registry()
    registry.update("test", [record])
    router = Router(registry, learned_policy(), random.Random(1))
    upstream = Upstream({"n": key} if key else {}, {"n": trust} if trust else {})
    router.nodes(0)
    task = asyncio.create_task(LoadReader(router, upstream, registry.nodes.values, 0.05).run())
    try:
        yield router
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        upstream.close()


def load(router: Router):
    return router.nodes(0)[0].load


async def test_a_load_is_read_again_and_again_over_one_connection() -> None:
    node = Metrics()
    async with await asyncio.start_server(node.serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with reading(f"http://127.0.0.1:{port}/base", key="sk-1") as router:
            await eventually(lambda: len(node.heads), lambda count: count >= 4)
            (view,) = router.nodes(0)
            assert view.load is not None
            assert (view.load.running, view.load.waiting, view.load.kv_tokens) == (9, 4, 1600)
            assert view.load.rtt_ns > 0
            assert view.beside is not None
            assert (view.beside.in_flight, view.beside.pending_tokens) == (13, 4_000)
            assert node.connections == 1
            assert node.heads[0].startswith(b"GET /base/metrics HTTP/1.1\r\n")
            assert b"authorization: Bearer sk-1\r\n" in node.heads[0]
            node.status = 500
            assert await eventually(lambda: load(router), lambda told: told is None) is None
            assert router.nodes(0)[0].beside is None, "what was known is not known any more"


async def test_over_a_unix_socket(tmp_path) -> None:
    node = Metrics()
    path = tmp_path / "s"
    async with (
        await asyncio.start_unix_server(node.serve, path),
        reading(f"unix:{path}") as router,
    ):
        told = await eventually(lambda: load(router), lambda told: told is not None)
        assert told.running == 9


async def test_over_tls_to_whom_is_trusted(authority) -> None:
    node, stranger = Metrics(), Metrics()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority / "node.pem", authority / "node.key")
    trust = ssl.create_default_context(cafile=authority / "ca.pem")
    async with await asyncio.start_server(node.serve, "localhost", 0, ssl=context) as server:
        url = f"https://localhost:{server.sockets[0].getsockname()[1]}"
        async with reading(url, trust=trust) as router:
            told = await eventually(lambda: load(router), lambda told: told is not None)
            assert told.running == 9
    async with await asyncio.start_server(stranger.serve, "localhost", 0, ssl=context) as server:
        url = f"https://localhost:{server.sockets[0].getsockname()[1]}"
        async with reading(url) as router:
            await asyncio.sleep(0.3)
            assert load(router) is None
    assert stranger.heads == [], "nobody asks who is not trusted"


async def test_a_node_that_drips_is_given_up(monkeypatch) -> None:
    monkeypatch.setattr(load_reader, "DEADLINE_S", 0.2)
    node = Metrics()
    async with await asyncio.start_server(node.serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with reading(f"http://127.0.0.1:{port}") as router:
            await eventually(lambda: load(router), lambda told: told is not None)
            node.pause_s = 0.05
            await eventually(lambda: load(router), lambda told: told is None)
            node.pause_s = 0
            await eventually(lambda: load(router), lambda told: told is not None)


def test_a_question_now_and_then_has_one_deadline_for_all_of_it() -> None:
    def drip() -> None:
        connection, _ = listener.accept()
        with connection, contextlib.suppress(OSError):
            connection.recv(4096)
            connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")
            while not ended.wait(0.05):
                connection.sendall(b"x")

    ended = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        node = threading.Thread(target=drip)
        node.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        door = Door(url, tls=None, key=None, timeout_s=0.2)
        began_s = time.monotonic()
        with pytest.raises((OSError, http.client.HTTPException)):
            door.get("/metrics", 1 << 20)
        assert 0.7 < time.monotonic() - began_s < 60
        door.close()
        ended.set()
        node.join()


@pytest.mark.parametrize("policy", ["free-share", "forecast"])
async def test_a_gateway_reads_loads_if_its_policy_looks_at_them(tmp_path, policy) -> None:
    async with FakeNode(pace=Pace(ttft_ms=2_000)) as node:
        config = configuration([node])
        routing = structs.replace(config.router, policy=policy, load_interval_ms=20)
        async with serve(tmp_path, structs.replace(config, router=routing)) as gateway:
            router = gateway.server._gateway.admission._router
            if policy == "free-share":
                await asyncio.sleep(0.3)
                assert load(router) is None
                return
            told = await eventually(lambda: load(router), lambda told: told is not None)
            assert (told.running, told.waiting) == (0, 0)

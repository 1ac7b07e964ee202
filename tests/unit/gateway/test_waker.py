"""Who is woken, when, and how long it took; Serve's proxy is a socket of the test's own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest
from served import eventually

from gateway.pools.waker import FIRST_GUESS_NS, Waker
from serving.pool_state import PoolState, ReplicaState
from serving.ray_app import AppPhase

pytestmark = pytest.mark.anyio

SECOND = 1_000_000_000
RUNNING = (ReplicaState(replica_id="r", state="RUNNING", ray_node_id="n"),)


class Proxy:
    """Notes who is asked for, and answers nobody before it is told to."""

    def __init__(self) -> None:
        self.open: list[str] = []
        self.asked: list[str] = []
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path = (await reader.readline()).split()[1].decode()
        self.asked.append(path)
        self.open.append(path)
        await reader.read()
        self.open.remove(path)
        writer.close()


@pytest.fixture
async def proxy() -> AsyncIterator[Proxy]:
    proxy = Proxy()
    async with await asyncio.start_server(proxy.serve, "127.0.0.1", 0) as server:
        proxy.port = server.sockets[0].getsockname()[1]
        yield proxy


def pool(name: str, proxy: Proxy, order: int = 0) -> PoolState:
    return PoolState(
        app=f"m-{name}",
        model="m",
        pool=name,
        supplier_id="acme",
        gpu="",
        phase=AppPhase.RUNNING,
        detail="running",
        has_failed=False,
        replicas_min=0,
        replicas_max=1,
        target=0,
        replicas=(),
        wake_order=order,
        wake_url=f"http://127.0.0.1:{proxy.port}/m-{name}",
        managed_by="",
    )


def awake(asleep: PoolState) -> PoolState:
    return msgspec.structs.replace(asleep, replicas=RUNNING, wake_url="")


async def test_the_first_pool_is_asked_once_until_it_has_a_replica(proxy):
    now = [0]
    waker = Waker(60 * SECOND, lambda: now[0])
    h100, a100 = pool("h100", proxy), pool("a100", proxy, order=1)
    waker.saw([a100, h100])
    assert waker.is_coming("m")
    assert waker.any_asleep
    assert waker.start_ns("m") == FIRST_GUESS_NS
    for _ in range(3):
        waker.ask("m")
    await eventually(lambda: proxy.open, lambda found: found == ["/m-h100/health"])
    now[0] = 7 * SECOND
    assert waker.start_ns("m") == FIRST_GUESS_NS - 7 * SECOND
    waker.saw([a100, awake(h100)])
    assert not waker.any_asleep
    await eventually(lambda: proxy.open, lambda found: not found)
    assert proxy.asked == ["/m-h100/health"]
    assert waker.start_ns("m") == 7 * SECOND
    waker.close()


async def test_after_half_of_the_wait_the_next_pool_is_asked_too(proxy):
    waker = Waker(SECOND // 5, lambda: 0)
    waker.saw([pool("h100", proxy), pool("a100", proxy, order=1)])
    waker.ask("m")
    await eventually(lambda: proxy.asked, lambda found: "/m-a100/health" in found)
    await eventually(lambda: proxy.open, lambda found: not found)
    assert proxy.asked[0] == "/m-h100/health"
    waker.ask("m")
    await eventually(lambda: proxy.asked, lambda found: found.count("/m-h100/health") == 2)
    waker.close()


async def test_what_ray_starts_by_itself_is_waited_for_and_not_asked_for(proxy):
    waker = Waker(SECOND, lambda: 0)
    waker.saw([msgspec.structs.replace(pool("h100", proxy), wake_url="")])
    waker.ask("m")
    assert waker.is_coming("m")
    assert waker.start_ns("m") == FIRST_GUESS_NS
    assert not proxy.asked


async def test_a_pool_that_failed_brings_nobody(proxy):
    waker = Waker(SECOND, lambda: 0)
    waker.saw([msgspec.structs.replace(pool("h100", proxy), has_failed=True)])
    assert not waker.is_coming("m")
    assert not waker.any_asleep
    waker.saw([])
    assert not waker.is_coming("m")


async def test_a_model_that_is_full_elsewhere_wakes_its_second_pool(proxy):
    waker = Waker(SECOND, lambda: 0)
    waker.saw([awake(pool("h100", proxy)), pool("a100", proxy, order=1)])
    assert not waker.any_asleep
    waker.ask("m")
    await eventually(lambda: proxy.asked, lambda found: found == ["/m-a100/health"])
    waker.close()

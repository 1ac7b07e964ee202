"""Gateways that hear of each other's nodes through a real Redis: processes that come, die, and a
Redis that forgets or goes.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hearing_gateway import CAPACITY, FEATURES, new_hearsay, new_router
from msgspec import msgpack
from redis import Redis
from served import eventually
from together import REDIS, together, write_config

from router.hearsay import Told
from router.router import Router
from router.types import Reason, Termination
from serving.fake_node import FakeNode
from serving.simulated_engine import Pace

pytestmark = pytest.mark.anyio
TESTS = Path(__file__).parents[1]
ONLY_A = frozenset({"b"})


@contextlib.asynccontextmanager
async def hearing(redis) -> AsyncIterator[Router]:
    """A gateway's router in this process that tells and hears."""
    router = new_router()
    task = asyncio.create_task(new_hearsay(router, redis.url).run())
    try:
        yield router
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@contextlib.asynccontextmanager
async def another(redis, requests: int) -> AsyncIterator[asyncio.subprocess.Process]:
    """A gateway in a process of its own with so many requests on node `a`."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(TESTS / "hearing_gateway.py"), redis.url, str(requests),
        stdout=asyncio.subprocess.PIPE, env=os.environ | {"PYTHONPATH": str(TESTS.parent)},
    )  # fmt: skip
    try:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"ready\n"
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def beside(router: Router) -> int:
    """Requests of others on node `a`, as far as it knows."""
    told = {view.node.node_id: view.beside for view in router.nodes(0)}["a"]
    return 0 if told is None else told.in_flight


def tells(redis) -> dict[str, Told]:
    """What each gateway tells now, by its key in Redis."""
    with Redis(port=redis.port) as client:
        told = {key.decode(): client.get(key) for key in client.keys("tollgate:*:hearsay:*")}
    return {key: msgpack.decode(words, type=Told) for key, words in told.items() if words}


async def all_heard(redis, requests: int) -> None:
    """Until they told of so many requests, and each has asked twice since then what others tell:
    with that it tells again, for as long as ever.
    """

    def told() -> int:
        return sum(node.in_flight for each in tells(redis).values() for node in each.nodes)

    await eventually(told, lambda known: known == requests)
    left_ms: dict[str, int] = dict.fromkeys(tells(redis), 0)
    turns: dict[str, int] = dict.fromkeys(left_ms, -1)  # the first look only sees what is left

    def fewest() -> int:
        with Redis(port=redis.port) as client:
            for key, before_ms in left_ms.items():
                left_ms[key] = client.pttl(key)
                turns[key] += left_ms[key] > before_ms
        return min(turns.values())

    await eventually(fewest, lambda turn: turn >= 2)


async def heard(router: Router, requests: int) -> None:
    await eventually(lambda: beside(router), lambda known: known == requests)


async def test_two_gateways_do_not_both_fill_a_node(redis) -> None:
    async with hearing(redis) as router, another(redis, 5), another(redis, 1):
        await heard(router, 6)
        for _ in range(CAPACITY - 6):
            router.start(router.choose(FEATURES, 0, ONLY_A))
        reasons = {router.choose(FEATURES, 0, ONLY_A).reason for _ in range(9)}
        assert reasons == {Reason.NO_CAPACITY}


async def test_what_a_gateway_had_is_forgotten_after_it_died(redis) -> None:
    async with hearing(redis) as router, another(redis, 2), another(redis, 4) as dying:
        await heard(router, 6)
        dying.kill()
        await dying.wait()
        await heard(router, 2)


async def test_who_leaves_takes_what_it_had_with_it_at_once(redis) -> None:
    async with hearing(redis) as one:
        async with hearing(redis) as other:
            other.start(other.choose(FEATURES, 0, ONLY_A))
            await heard(one, 1)
        assert len(tells(redis)) <= 1, "not only when its time is over"
        await heard(one, 0)


async def test_a_redis_that_lost_everything_has_it_again_and_nothing_twice(redis) -> None:
    async with hearing(redis) as router, another(redis, 3):
        await heard(router, 3)
        seen = set()
        for _ in range(4):
            redis.flush()
            await asyncio.sleep(0.35)
            seen.add(beside(router))
        assert seen <= {0, 3}
        await heard(router, 3)


async def test_without_redis_each_goes_on_alone(redis) -> None:
    async with hearing(redis) as router, another(redis, 3):
        await heard(router, 3)
        redis.kill()
        lease = router.start(router.choose(FEATURES, 0, ONLY_A))
        await heard(router, 0)
        assert lease.finish(Termination.COMPLETED, 1, 1, 20)
        redis.start()
        await heard(router, 3)


async def test_workers_of_one_gateway_fill_a_node_once(tmp_path, redis) -> None:
    def asked(tokens: int) -> dict:
        hi = [{"role": "user", "content": "hi there"}]
        return {"model": "fake", "messages": hi, "max_tokens": tokens}

    async with FakeNode(pace=Pace(ttft_ms=60_000)) as node:
        write_config(tmp_path, [node], more=REDIS)
        config = tmp_path / "tollgate.toml"
        config.write_text(config.read_text().replace("capacity = 256", "capacity = 4"))
        async with together(tmp_path, "--workers", "2") as running:
            post = running.client.post
            held = [
                asyncio.create_task(post("/v1/chat/completions", json=asked(4))) for _ in range(4)
            ]
            await eventually(lambda: node.engine.running, lambda count: count == 4)
            await all_heard(redis, 4)
            refused = await asyncio.gather(
                *(post("/v1/chat/completions", json=asked(4)) for _ in range(12))
            )
            assert {answer.status_code for answer in refused} == {429}
            assert {a.json()["error"]["code"] for a in refused} == {"no_capacity"}
            assert not any(each.done() for each in held)
            for each in held:
                each.cancel()
            await asyncio.gather(*held, return_exceptions=True)
            await running.end()

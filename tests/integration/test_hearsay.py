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
import redis as redis_client
from hearing_gateway import CAPACITY, FEATURES, new_hearsay, new_router
from served import eventually
from together import REDIS, together, write_config

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


async def heard(router: Router, requests: int) -> None:
    await eventually(lambda: beside(router), lambda known: known == requests)


async def told_and_heard(redis) -> None:
    """Both gateways have told what was true before, and then heard of it. Of four turns of each,
    the first may have begun before, and the third was heeded when the fourth began.
    """
    with redis_client.Redis(port=redis.port) as client:

        def turns() -> dict[bytes, float]:
            names = client.scan_iter("tollgate:*:hearsay")
            return {k: v for name in names for k, v in client.zrange(name, 0, -1, withscores=True)}

        before = await eventually(turns, lambda told: len(told) == 2)
        for _ in range(4):
            before = await eventually(
                turns,
                lambda told, was=before: all(told.get(name, 0) > was[name] for name in was),
            )


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


async def test_who_leaves_takes_what_it_had_with_it_at_once(redis, monkeypatch) -> None:
    monkeypatch.setattr("gateway.routing.redis_hearsay.KEPT_MS", 3_600_000)
    async with hearing(redis) as one:
        async with hearing(redis) as other:
            other.start(other.choose(FEATURES, 0, ONLY_A))
            await heard(one, 1)
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
                asyncio.create_task(post("/v1/chat/completions", json=asked(4))) for _ in range(3)
            ]
            await eventually(lambda: node.engine.running, lambda count: count == 3)
            await told_and_heard(redis)
            more = [
                asyncio.create_task(post("/v1/chat/completions", json=asked(4))) for _ in range(1)
            ]
            await eventually(lambda: node.engine.running, lambda count: count == 4)
            await told_and_heard(redis)
            refused = await asyncio.gather(
                *(post("/v1/chat/completions", json=asked(4)) for _ in range(12))
            )
            assert {answer.status_code for answer in refused} == {429}
            assert {a.json()["error"]["code"] for a in refused} == {"no_capacity"}
            for task in (*held, *more):
                assert not task.done()
                task.cancel()
            await asyncio.wait([*held, *more])
            await running.end()

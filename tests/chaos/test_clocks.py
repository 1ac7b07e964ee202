"""A clock that is set an hour ahead or back, under load: no limit, charge or lease follows it."""

from __future__ import annotations

import asyncio
import contextlib
import time

import msgspec
import pytest
from redis import Redis
from redis_process import RedisProcess
from served import configuration, eventually, serve
from together import REDIS, together, write_config

from gateway.config import LimitsConfig
from metering.charge import ChargeOutcome
from metering.sqlite_ledger import SqliteLedger
from serving.fake_node import FakeNode
from serving.simulated_engine import Pace

pytestmark = pytest.mark.anyio
HOUR_S = 3600
CHAT = "/v1/chat/completions"
REQUESTS = 20


def chat(**fields) -> dict:
    hi = [{"role": "user", "content": "hi there"}]
    return {"model": "fake", "messages": hi, "max_tokens": 12, "ignore_eos": True, **fields}


@pytest.fixture
def wall(monkeypatch):
    """Sets the wall clock of this process so many seconds off."""
    real_ns, off_s = time.time_ns, [0]
    monkeypatch.setattr(time, "time_ns", lambda: real_ns() + off_s[0] * 10**9)
    return off_s


async def test_charges_and_limits_do_not_follow_the_wall_clock(tmp_path, wall):
    async with FakeNode(pace=Pace(token_ms=8)) as node:
        limits = LimitsConfig(requests_per_minute=REQUESTS)
        config = msgspec.structs.replace(configuration([node]), limits=limits)
        async with serve(tmp_path, config) as served:

            async def ask() -> int:
                return (await served.client.post(CHAT, json=chat(stream=True))).status_code

            statuses: list[int] = []

            def runs() -> bool:
                return node.engine.running > 0 or len(statuses) >= REQUESTS

            for off_s in (0, HOUR_S, -HOUR_S, 0, -2 * HOUR_S):
                wall[0] = off_s
                asking = [asyncio.create_task(ask()) for _ in range(5)]
                await eventually(runs, bool)
                wall[0] = -off_s  # once more, while they run
                statuses += await asyncio.gather(*asking)
            assert statuses == [200] * REQUESTS + [429] * 5
            charges = await served.charges(REQUESTS)
        with served.ledger() as ledger:
            assert ledger.verify().ok
            assert not any(line.balance.debits_pending for line in ledger.trial_balance())
    assert {(charge.outcome, charge.completion_tokens) for charge in charges} == {
        (ChargeOutcome.COMPLETED, 12)
    }
    assert len({charge.charge_id for charge in charges}) == REQUESTS
    assert all(0 < charge.closed_ns - charge.created_ns < 10**10 for charge in charges)


@pytest.mark.parametrize("step_s", [HOUR_S, -HOUR_S])
async def test_shared_limits_do_not_follow_the_clock_of_redis(tmp_path, monkeypatch, step_s):
    (tmp_path / "redis").mkdir()
    with RedisProcess(tmp_path / "redis") as redis:
        monkeypatch.setenv("TOLLGATE_TEST_REDIS_URL", redis.url)
        async with FakeNode() as node:
            more = f"[limits]\nrequests_per_minute = {REQUESTS}\n" + REDIS
            write_config(tmp_path, [node], more=more)
            async with together(tmp_path, "--workers", "2") as running:

                async def ask() -> int:
                    return (await running.client.post(CHAT, json=chat())).status_code

                served = 0
                for _ in range(4):
                    served += [await ask() for _ in range(REQUESTS // 2)].count(200)
                    set_clock(redis, step_s)
                assert served == REQUESTS
                await running.end()
    with contextlib.closing(SqliteLedger(tmp_path / "ledger.db")) as ledger:
        assert ledger.verify().ok
        assert len(list(ledger.charges())) == REQUESTS


def set_clock(redis: RedisProcess, step_s: int) -> None:
    """As the pools see it: what they noted of it last is off by so much."""
    with Redis(port=redis.port, decode_responses=True) as client:
        (clock,) = client.keys("tollgate:*:clock")
        client.hincrby(clock, "wall_ms", -1000 * step_s)

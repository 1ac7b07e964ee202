"""Limits and credit over several workers, from outside; and a Redis that comes and goes."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from served import eventually, open_account
from together import REDIS, together, write_config

from metering.accounts import USD_SHORTFALL, customer
from metering.money import parse_usd
from metering.sqlite_ledger import SqliteLedger
from serving.fake_node import FakeNode
from serving.simulated_engine import Pace

pytestmark = pytest.mark.anyio
CHAT = "/v1/chat/completions"
TWO = ("--workers", "2")


def chat(**fields) -> dict:
    hi = [{"role": "user", "content": "hi there"}]
    return {"model": "fake", "messages": hi, "max_tokens": 12, **fields}


async def ask(running, **fields) -> tuple[int, dict]:
    answer = await running.client.post(CHAT, json=chat(**fields))
    return answer.status_code, answer.json()


async def ask_many(running, count: int, **fields) -> list[tuple[int, dict]]:
    return await asyncio.gather(*(ask(running, **fields) for _ in range(count)))


async def test_requests_a_minute_are_those_of_all_workers(tmp_path, redis):
    async with FakeNode() as node:
        write_config(tmp_path, [node], more="[limits]\nrequests_per_minute = 30\n" + REDIS)
        async with together(tmp_path, *TWO) as running:
            answers = [answer for _ in range(4) for answer in await ask_many(running, 20)]
            assert sum(status == 200 for status, _ in answers) == 30
            refused = [body["error"] for status, body in answers if status == 429]
            assert len(refused) == 50
            assert {(error["type"], error["code"]) for error in refused} == {
                ("requests", "rate_limit_exceeded")
            }
            assert "Limit 30, Used 30, Requested 1" in refused[-1]["message"]
            await running.end()


async def test_requests_at_once_are_those_of_all_workers(tmp_path, redis):
    async with FakeNode(pace=Pace(ttft_ms=1500)) as node:
        write_config(tmp_path, [node], more="[limits]\nconcurrent_requests = 6\n" + REDIS)
        async with together(tmp_path, *TWO) as running:
            statuses = [status for status, _ in await ask_many(running, 30)]
            assert sorted(statuses) == [200] * 6 + [429] * 24
            await eventually(lambda: ask(running), lambda answer: answer[0] == 200)
            await running.end()


async def test_credit_is_that_of_all_workers(tmp_path, redis):
    credit, hold = parse_usd("0.002"), 130_000  # a hold is what 600 tokens and an answer may cost
    async with FakeNode() as node:
        write_config(tmp_path, [node])
        secret = open_account(tmp_path, "0.002")
        async with together(tmp_path, *TWO, secret=secret) as running:
            served = refused_rounds = 0
            while refused_rounds < 3:  # what came free a moment ago may not be known yet
                answers = await ask_many(running, 30)
                served += sum(status == 200 for status, _ in answers)
                refused = [body["error"]["code"] for status, body in answers if status != 200]
                assert set(refused) <= {"insufficient_quota"}
                refused_rounds = refused_rounds + 1 if len(refused) == 30 else 0
            await running.end()
    with contextlib.closing(SqliteLedger(tmp_path / "ledger.db")) as ledger:
        charges = list(ledger.charges())
        assert len(charges) == served
        left = ledger.balance(customer("acme")).available
        assert left == credit - sum(charge.cost_nano_usd for charge in charges)
        assert 0 <= left < hold
        assert ledger.balance(USD_SHORTFALL).posted == 0


@pytest.mark.parametrize("when_away", ["lease", "refuse"])
async def test_redis_may_go_and_come_back(tmp_path, redis, when_away):
    more = f'[limits]\nrequests_per_minute = 100000\n{REDIS}when_away = "{when_away}"\n'
    async with FakeNode() as node:
        write_config(tmp_path, [node], more=more)
        async with together(tmp_path, *TWO) as running:
            assert {status for status, _ in await ask_many(running, 20)} == {200}
            redis.kill()

            def unknown(answer) -> bool:
                status, body = answer
                return status == 429 and body["error"]["code"] == "limits_unknown"

            await eventually(lambda: ask(running), unknown)
            redis.start()
            await eventually(
                lambda: ask_many(running, 10), lambda all: {status for status, _ in all} == {200}
            )
            await running.end()

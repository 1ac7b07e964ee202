"""Redis forgot everything and the ledger is away: money waits for the ledger, limits do not."""

from __future__ import annotations

import asyncio
import contextlib
import logging

import pytest
import redis as redis_client
from books import opened
from lossy_pools import LossyPools
from served import eventually

from gateway.admission.sharing import TRIES_MAX, Sharing
from metering.budget import BalanceUpdate
from metering.ledger import LedgerError
from metering.limits import LimitKind, Limits, Shortage
from metering.shared_budget import SharedBudget
from metering.shared_limits import shared_limiter

pytestmark = pytest.mark.anyio
OWN = Limits(concurrent_requests=4)
CHARGE = opened("c", account="alice")


class Ledger:
    """Its register, as it answers or does not."""

    def __init__(self) -> None:
        self.back = asyncio.Event()
        self.hangs = False
        self.asked = 0

    async def register(self) -> list[str]:
        self.asked += 1
        if self.hangs:
            await self.back.wait()
        if not self.back.is_set():
            raise LedgerError("it is away")
        return ["w0"]


@pytest.mark.parametrize("hangs", [False, True], ids=["refuses", "hangs"])
async def test_limits_are_leased_while_the_ledger_is_away_and_money_once_it_is_back(
    redis, caplog, hangs
):
    caplog.set_level(logging.WARNING, logger="tollgate")
    awake, budget, ledger = set(), SharedBudget(), Ledger()
    limiter = shared_limiter(Limits(), awake)

    async def refresh(account: str) -> None:
        budget.update([BALANCE])

    with redis_client.Redis(port=redis.port) as client:
        sharing = Sharing(
            LossyPools(client),
            limiter,
            awake,
            budget,
            writer="w0",
            register=ledger.register,
            refresh=refresh,
            serves_on_leases=True,
        )
        sharing.drop("w0", 1)
        sharing.settled = True
        ledger.back.set()
        running = asyncio.create_task(sharing.run())
        assert await sharing.opened(5)
        await leases_places(sharing, client)

        ledger.back.clear()
        ledger.hangs = hangs
        asked_before = ledger.asked
        client.flushall()
        await eventually(lambda: ledger.asked, lambda asked: asked > asked_before)
        caplog.clear()
        await leases_places(sharing, client)
        assert not await sharing.opened(1)
        told = [record for record in caplog.records if "no money is leased" in record.message]
        assert len(told) <= 1

        ledger.back.set()
        assert await sharing.opened(5)
        await eventually(
            lambda: sharing.find(CHARGE, OWN, 1, 0),
            lambda _: budget.reserve("alice", CHARGE.hold_nano_usd),
        )
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


class Slow(LossyPools):
    def __init__(self, client) -> None:
        super().__init__(client)
        self.asked, self.answers = asyncio.Event(), asyncio.Event()

    async def ask(self, question):
        self.asked.set()
        await self.answers.wait()
        return await super().ask(question)


async def test_at_the_end_a_question_is_heard_and_not_cut_short(redis):
    """Cut short in redis-py it may swallow the end that was meant for who asks."""
    with redis_client.Redis(port=redis.port) as client:
        pools, awake = Slow(client), set()
        sharing = Sharing(
            pools,
            shared_limiter(Limits(), awake),
            awake,
            SharedBudget(),
            writer="w0",
            register=Ledger().register,
            refresh=lambda account: asyncio.sleep(0),
            serves_on_leases=True,
        )
        running = asyncio.create_task(sharing.run())
        await pools.asked.wait()
        running.cancel()
        await asyncio.sleep(0)
        pools.answers.set()
        await asyncio.wait({running}, timeout=30)
        assert running.cancelled()
        assert not sharing.away


BALANCE = BalanceUpdate(
    account="alice", available_nano_usd=0, booked_nano_usd=0,
    posted_nano_usd=10**9, paid_nano_usd=0, seq=1,
)  # fmt: skip


async def leases_places(sharing: Sharing, client: redis_client.Redis) -> None:
    """Redis knows of places that are leased to the key."""

    async def leased() -> list[bytes]:
        async with asyncio.timeout(10):
            await sharing.find(CHARGE, OWN, 1, 0)
        found = [key for key in client.scan_iter("*:c:key_1:*") if client.hlen(key)]
        return [field for key in found for field in client.hkeys(key) if field.startswith(b"m:")]

    await eventually(leased, bool)


@pytest.mark.parametrize("waits", [True, False], ids=["lease", "refuse"])
async def test_one_slow_answer_of_redis_refuses_nobody_who_may_wait(redis, waits):
    awake, budget = set(), SharedBudget()
    limiter = shared_limiter(Limits(), awake)

    async def refresh(account: str) -> None:
        budget.update([BALANCE])

    async def register() -> list[str]:
        return ["w0"]

    with redis_client.Redis(port=redis.port) as client:
        pools = LossyPools(client)
        sharing = Sharing(
            pools,
            limiter,
            awake,
            budget,
            writer="w0",
            register=register,
            refresh=refresh,
            serves_on_leases=waits,
        )
        shortage = Shortage(kind=LimitKind.CREDIT, asked=1, limit=1, free=0, wait_ns=None)
        assert not sharing.worth_asking(shortage, CHARGE, OWN, 1, 0)  # it never answered
        sharing.drop("w0", 1)
        sharing.settled = True
        await sharing.step()
        assert not sharing.away
        pools.answer_lost = True
        sharing.drop("w0", 1)
        await sharing.step()
        assert sharing.away
        assert sharing.worth_asking(shortage, CHARGE, OWN, 1, 0) is waits
        assert not sharing.worth_asking(shortage, CHARGE, OWN, 1, TRIES_MAX)
        if waits:
            pools.answer_lost = False
            running = asyncio.create_task(sharing.run())
            await sharing.find(CHARGE, OWN, 1, 0)
            assert not sharing.away
            running.cancel()

"""One of several gateways that share limits and a balance, without HTTP: a process that reserves,
charges and settles as fast as it is told. `python member.py '<json of Orders>'`; it reports on
stdout: "ready", then a line of JSON at the end, when SIGTERM comes or all is done.
"""

from __future__ import annotations

import asyncio
import random
import signal
import sys
import time
from pathlib import Path

import msgspec
from books import PRICE

from gateway.admission.sharing import Sharing
from gateway.admission.till import Till
from metering.charge import ChargeOutcome, CloseCharge, OpenCharge
from metering.gateway_register import GatewayRegister
from metering.limits import Limits, Shortage
from metering.poster import Poster
from metering.purses import Purses
from metering.redis_pools import RedisPools
from metering.shared_budget import SharedBudget
from metering.shared_limits import SharedKeyLimits, shared_limiter
from metering.spool import Spool
from metering.sqlite_database import SqliteDatabase
from metering.sqlite_ledger import SqliteLedger
from metering.usage import Usage, UsageSource


class Orders(msgspec.Struct, kw_only=True):
    ledger: str
    spool: str
    redis_url: str
    limits: Limits = Limits()
    hold: int = 600 * 20
    tokens_max: int = 20
    """A request's bound; it uses `used_min` of them or more, each at 600 nano-USD."""
    used_min: int = 0
    held_s: float = 0.002
    at_once: int = 16
    requests: int = 1_000_000
    """In all; each that is refused counts too."""
    pause_s: float = 0.0
    """After a refusal."""
    seed: int = 0


class Report(msgspec.Struct, kw_only=True):
    served: int = 0
    tokens: int = 0
    refused: dict[str, int] = msgspec.field(default_factory=dict)
    requests: list[tuple[int, int, int]] = msgspec.field(default_factory=list)
    """When each was admitted and when it ended, by the machine's clock, and the tokens it used."""


class Member:
    def __init__(self, orders: Orders) -> None:
        self.orders = orders
        self.report = Report()
        self.stopping = asyncio.Event()
        self._rng = random.Random(orders.seed)
        self.ledger = SqliteLedger(Path(orders.ledger))
        self.register = GatewayRegister(SqliteDatabase(Path(orders.ledger)))
        self.spool = Spool(Path(orders.spool), rows_max=1_000_000)
        budget, awake = SharedBudget(), set[SharedKeyLimits]()
        self.poster = Poster(self.spool, self.ledger, budget.update)
        limiter = shared_limiter(Limits(), awake)
        self.pools = RedisPools(
            orders.redis_url, ledger_name=self.register.ledger_name(), timeout_ms=250
        )
        self.sharing = Sharing(
            self.pools,
            limiter,
            awake,
            budget,
            writer=self.spool.writer,
            register=lambda: asyncio.to_thread(self.register.writers),
            refresh=lambda account: asyncio.wrap_future(self.poster.refresh(account)),
            serves_on_leases=True,
        )
        self.till = Till(
            spool=self.spool,
            poster=self.poster,
            budget=budget,
            limiter=limiter,
            source=self.sharing,
            purses=Purses(print, budget.forget),
        )
        self._asked = 0

    async def run(self) -> None:
        self.register.enter(self.spool.writer)
        self.spool.recover(time.time_ns())
        self.spool.start(asyncio.get_running_loop().call_soon_threadsafe)
        self.poster.start()
        assert self.poster.drain(20)
        self.sharing.drop(self.spool.writer, self.ledger.last_seq())
        self.sharing.settled = True
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self.stopping.set)
        sharing = asyncio.create_task(self.sharing.run())
        await self.sharing.opened(10)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await asyncio.gather(*(self._customer() for _ in range(self.orders.at_once)))
        while self.spool.backlog:
            await asyncio.to_thread(self.poster.drain, 5)
        sharing.cancel()
        await asyncio.wait({sharing})
        await self.sharing.leave(self.ledger.last_seq())
        self.register.leave(self.spool.writer)
        await self.pools.close()
        self.poster.stop()
        self.spool.close()

    async def _customer(self) -> None:
        while not self.stopping.is_set() and self._asked < self.orders.requests:
            self._asked += 1
            shortage = await self._request(f"{self.spool.writer}-{self.orders.seed}-{self._asked}")
            if shortage is not None:
                kind = "away" if self.sharing.away else shortage.kind.value
                self.report.refused[kind] = self.report.refused.get(kind, 0) + 1
                await asyncio.sleep(self.orders.pause_s)

    async def _request(self, charge_id: str) -> Shortage | None:
        orders = self.orders
        charge = OpenCharge(
            charge_id=charge_id, request_id="r", account="alice", key_id="key_1", model="m",
            price=PRICE, hold_nano_usd=orders.hold, prompt_tokens_estimate=0,
            created_ns=time.time_ns(),
        )  # fmt: skip
        tries = 0
        while True:
            limits = self.till.limits_of(charge.key_id, orders.limits)
            shortage = self.till.reserve(charge, limits, orders.tokens_max, time.monotonic_ns())
            if shortage is None:
                break
            if not self.sharing.worth_asking(
                shortage, charge, orders.limits, orders.tokens_max, tries
            ):
                return shortage
            await self.sharing.find(charge, orders.limits, orders.tokens_max, tries)
            tries += 1
        started_ns = time.monotonic_ns()
        used = self._rng.randint(orders.used_min, orders.tokens_max)
        await self._recorded(charge)
        await asyncio.sleep(orders.held_s)
        close = CloseCharge(
            charge_id=charge_id, outcome=ChargeOutcome.COMPLETED, node_id="n", supplier_id="s",
            usage=Usage(prompt_tokens=0, completion_tokens=used), usage_source=UsageSource.NODE,
            closed_ns=time.time_ns(), ttft_ns=None,
        )  # fmt: skip
        ended_ns = time.monotonic_ns()
        await self._recorded(close)
        self.report.served += 1
        self.report.tokens += used
        self.report.requests.append((started_ns, ended_ns, used))
        return None

    async def _recorded(self, row: OpenCharge | CloseCharge) -> None:
        durable = asyncio.get_running_loop().create_future()

        def on_durable(failure: Exception | None) -> None:
            assert failure is None, failure
            durable.set_result(None)

        self.till.record(row, on_durable)
        await durable


async def main() -> None:
    member = Member(msgspec.json.decode(sys.argv[1].encode(), type=Orders))
    await member.run()
    sys.stdout.write(msgspec.json.encode(member.report).decode() + "\n")


if __name__ == "__main__":
    asyncio.run(main())

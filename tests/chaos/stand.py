"""Gateways with what they need: processes that are killed, by their id."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

from postgres_process import PostgresProcess
from redis import Redis
from redis_process import RedisProcess
from served import MODEL, NODE
from together import LEDGER, REDIS

from gateway.home import Home
from metering.backend import open_database, open_ledger
from metering.key_store import KeyStore
from metering.keys import KeyTerms
from metering.ledger import Ledger
from metering.limits import Limits
from metering.posting import deposit_group
from metering.transfer import PostResult
from serving.fake_node import FakeNode
from serving.simulated_engine import Pace

from .gateway_process import GatewayProcess

ACCOUNTS = {"rich": 10**12, "other": 10**11, "poor": 40_000_000}
"""What each has, in nano-USD. The poor one runs out."""
KEYS = {
    "rich": (KeyTerms(), KeyTerms(limits=Limits(concurrent_requests=4))),
    "other": (KeyTerms(limits=Limits(requests_per_minute=100_000)), KeyTerms()),
    "poor": (KeyTerms(limits=Limits(tokens_per_minute=10_000_000)),),
}
NODES = 2
QUICK = Pace(ttft_ms=3, token_ms=4)


class Stand:
    """Without PostgreSQL one gateway of two workers, on a SQLite file; with it two gateways of one
    process each, whose homes are their own, as on two machines.
    """

    def __init__(
        self,
        folder: Path,
        redis: RedisProcess,
        postgres: PostgresProcess | None,
        nodes: list[FakeNode],
    ) -> None:
        self.redis = redis
        self.postgres = postgres
        self.nodes = nodes
        self.keys: list[tuple[str, str]] = []
        """Accounts and secrets."""
        self.redis_lives = True
        self.postgres_lives = True
        self._stopped_ms = 0
        environment = {"TOLLGATE_TEST_REDIS_URL": redis.url}
        if postgres is None:
            self.gateways = [GatewayProcess(folder / "home", 2, environment)]
            self._where: Path | str = Home(folder / "home").ledger_file
        else:
            environment["TOLLGATE_TEST_LEDGER_URL"] = self._where = postgres.url
            homes = [folder / name for name in ("a", "b")]
            self.gateways = [GatewayProcess(home, 1, environment) for home in homes]

    def ledger(self) -> contextlib.closing[Ledger]:
        return contextlib.closing(open_ledger(self._where))

    def furnish(self, server: str, more: str) -> None:
        """Configurations, accounts and keys."""
        text = MODEL.format(server=server) + REDIS + (LEDGER if self.postgres else "") + more
        for index, node in enumerate(self.nodes):
            text += NODE.format(index=index, url=node.url, engine="vllm", capacity=256)
        for gateway in self.gateways:
            gateway.home.mkdir()
            Home(gateway.home).config_file.write_text(text)
        with self.ledger() as ledger:
            groups = [deposit_group(name, name, amount) for name, amount in ACCOUNTS.items()]
            assert set(ledger.post("chaos", groups)) == {PostResult.OK}
        with contextlib.closing(open_database(self._where)) as database:
            for account, terms in KEYS.items():
                for each in terms:
                    self.keys.append((account, KeyStore(database).create(account, "", each)[1]))

    async def start(self) -> None:
        """Everything that does not run: gateways last, for they need the ledger to start."""
        if self.postgres is not None:
            again = self.postgres.wait if self.postgres_lives else self.postgres.start
            await asyncio.to_thread(again)
            self.postgres_lives = True
        if not self.redis_lives:
            await asyncio.to_thread(self.redis.start)
            self.redis_lives = True
        await asyncio.gather(*(each.start() for each in self.gateways if not each.runs))

    def kill_redis(self) -> None:
        self.redis.kill()
        self.redis_lives = False

    async def kill_postgres(self, how: str) -> None:
        """`how` is the name of one of its methods."""
        assert self.postgres is not None
        await asyncio.to_thread(getattr(self.postgres, how))
        self.postgres_lives = False

    def kill_session(self) -> None:
        """One connection's process of PostgreSQL."""
        assert self.postgres is not None
        self.postgres.kill_session()

    async def stop(self) -> list[int]:
        """In order; the exit statuses."""
        if self.redis_lives:
            self._stopped_ms = await asyncio.to_thread(self._pool_ms)
        return await asyncio.gather(*(gateway.stop() for gateway in self.gateways))

    def _pool_ms(self) -> int:
        """The pools' clock at the last question."""
        with Redis(port=self.redis.port, decode_responses=True) as client:
            clocks = [client.hget(key, "now_ms") for key in client.scan_iter("tollgate:*}:clock")]
        return max(map(int, clocks), default=0)

    async def keep(self, folder: Path) -> None:
        """The state of PostgreSQL, which otherwise goes with it; all ends before."""
        await self.close()
        if self.postgres is not None:
            self.postgres.kill()
            shutil.copytree(self.postgres.folder, folder / "postgres")

    async def close(self) -> None:
        for gateway in self.gateways:
            await gateway.close()

    def leases(self) -> list[str]:
        """What Redis has as leased, of money (`l:` and the writer) and of places (`m:`) to those
        who were there to give them back: a dead member's are gone with the next question.
        """
        found: list[str] = []
        with Redis(port=self.redis.port, decode_responses=True) as client:
            for key in client.scan_iter("tollgate:*"):
                prefix, _, name = key.partition("}:")
                if name.startswith("a:"):
                    fields = client.hgetall(key)
                    found += [f"{name} {field}" for field in fields if field[:2] in ("l:", "m:")]
                if name.startswith("c:"):
                    seen_ms = client.hgetall(f"{prefix}}}:seen")
                    found += [
                        f"{name} {field}"
                        for field in client.hgetall(key)
                        if field[:2] == "m:" and int(seen_ms.get(field[2:], 0)) >= self._stopped_ms
                    ]
        return found


@contextlib.asynccontextmanager
async def stand(
    folder: Path,
    *,
    postgres: bool,
    server: str = "",
    more: str = "",
    pace: Pace = QUICK,
) -> AsyncIterator[Stand]:
    """It serves when the block begins; nothing of it runs at its end. `server` is of that section
    of the configuration, `more` others.
    """
    async with contextlib.AsyncExitStack() as running:
        redis = running.enter_context(RedisProcess(_new(folder / "redis")))
        books = _postgres(running) if postgres else None
        nodes = [FakeNode(pace=pace, seed=seed) for seed in range(NODES)]
        for node in nodes:
            await running.enter_async_context(node)
        made = Stand(folder, redis, books, nodes)
        made.furnish(server, more)
        running.push_async_callback(made.close)
        await made.start()
        yield made


def _postgres(running: contextlib.AsyncExitStack) -> PostgresProcess:
    """Not in the folder of the stand, which its own user may not reach."""
    folder = running.enter_context(tempfile.TemporaryDirectory(prefix="tollgate-postgres-"))
    return running.enter_context(PostgresProcess(Path(folder), fsync=True))


def _new(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder

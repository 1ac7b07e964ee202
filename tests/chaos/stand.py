"""A gateway of two workers with what it needs: processes that are killed, by their id."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import AsyncIterator
from pathlib import Path

from redis import Redis
from redis_process import RedisProcess
from served import MODEL, NODE, eventually
from together import REDIS, children_of, lives

from gateway.home import Home
from metering.key_store import KeyStore
from metering.keys import KeyTerms
from metering.limits import Limits
from metering.posting import deposit_group
from metering.sqlite_database import SqliteDatabase
from metering.sqlite_ledger import SqliteLedger
from metering.transfer import PostResult
from serving.fake_node import FakeNode
from serving.simulated_engine import Pace

ACCOUNTS = {"rich": 10**12, "other": 10**11, "poor": 40_000_000}
"""What each has, in nano-USD. The poor one runs out."""
KEYS = {
    "rich": (KeyTerms(), KeyTerms(limits=Limits(concurrent_requests=4))),
    "other": (KeyTerms(limits=Limits(requests_per_minute=100_000)), KeyTerms()),
    "poor": (KeyTerms(limits=Limits(tokens_per_minute=10_000_000)),),
}
START_S = 60
NODES = 2


class Stand:
    def __init__(self, folder: Path, redis: RedisProcess, nodes: list[FakeNode]) -> None:
        self.home = folder / "home"
        self.redis = redis
        self.nodes = nodes
        self.keys: list[tuple[str, str]] = []
        """Accounts and secrets."""
        self.redis_lives = True
        self._log = folder / "gateway.log"
        self._process: asyncio.subprocess.Process | None = None
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            self.port: int = listener.getsockname()[1]

    def furnish(self) -> None:
        """Configuration, accounts and keys."""
        self.home.mkdir()
        text = MODEL.format(server="") + REDIS
        for index, node in enumerate(self.nodes):
            text += NODE.format(index=index, url=node.url, engine="vllm", capacity=256)
        Home(self.home).config_file.write_text(text)
        file = Home(self.home).ledger_file
        with contextlib.closing(SqliteLedger(file)) as ledger:
            groups = [deposit_group(name, name, amount) for name, amount in ACCOUNTS.items()]
            assert set(ledger.post("chaos", groups)) == {PostResult.OK}
        with contextlib.closing(SqliteDatabase(file)) as database:
            for account, terms in KEYS.items():
                for each in terms:
                    self.keys.append((account, KeyStore(database).create(account, "", each)[1]))

    async def start(self) -> None:
        """Returns once all workers serve."""
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(os.sys.executable, "-m", "gateway", "serve", "--home", str(self.home)),
                *("--workers", "2", "--port", str(self.port)),
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                env={**os.environ, "TOLLGATE_TEST_REDIS_URL": self.redis.url},
            )
        assert self._process.stdout is not None
        line = await asyncio.wait_for(self._process.stdout.readline(), START_S)
        assert line.startswith(b"Serving "), self._log.read_text()[-3000:]

    @property
    def workers(self) -> list[int]:
        assert self._process is not None
        return [pid for pid in children_of(self._process.pid) if lives(pid)]

    async def kill_gateway(self) -> None:
        """The supervisor and all its workers, as when a machine's memory runs out."""
        assert self._process is not None
        pids = [self._process.pid, *self.workers]
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        await self._process.wait()
        await eventually(lambda: [pid for pid in pids if lives(pid)], lambda left: not left)

    def kill_worker(self, index: int) -> None:
        workers = self.workers
        if workers:
            os.kill(workers[index % len(workers)], signal.SIGKILL)

    def kill_redis(self) -> None:
        self.redis.kill()
        self.redis_lives = False

    def start_redis(self) -> None:
        if not self.redis_lives:
            self.redis.start()
            self.redis_lives = True

    async def stop(self) -> int:
        """In order; the exit status."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return await asyncio.wait_for(self._process.wait(), START_S)

    async def close(self) -> None:
        if self._process is not None and self._process.returncode is None:
            await self.kill_gateway()

    def leases(self) -> list[str]:
        """What Redis still has as leased, of money and of places."""
        found: list[str] = []
        with Redis(port=self.redis.port, decode_responses=True) as client:
            for key in client.scan_iter("tollgate:*"):
                name = key.partition("}:")[2]
                if name.startswith(("a:", "c:")):
                    fields = client.hgetall(key)
                    found += [f"{name} {field}" for field in fields if field[:2] in ("l:", "m:")]
        return found


@contextlib.asynccontextmanager
async def stand(folder: Path) -> AsyncIterator[Stand]:
    """It serves when the block begins; nothing of it runs at its end."""
    async with contextlib.AsyncExitStack() as running:
        redis = running.enter_context(RedisProcess(_new(folder / "redis")))
        nodes = [FakeNode(pace=Pace(ttft_ms=3, token_ms=4), seed=seed) for seed in range(NODES)]
        for node in nodes:
            await running.enter_async_context(node)
        made = Stand(folder, redis, nodes)
        made.furnish()
        running.push_async_callback(made.close)
        await made.start()
        yield made


def _new(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder

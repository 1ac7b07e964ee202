"""A gateway on PostgreSQL and Redis over three fake nodes, under load, watched by Prometheus."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
from postgres_process import PostgresProcess
from redis_process import RedisProcess
from served import MODEL, NODE, eventually, open_account_at
from word_tokenizer import WORDS, write_word_tokenizer

from gateway.config import parse
from gateway.home import Home
from gateway.server import GatewayServer
from gateway.wiring import Gateway
from ide.params import IdeParams, TokenRate
from ide.settlement import settle
from metering.backend import open_database, open_ledger
from metering.key_store import KeyStore
from metering.keys import KeyTerms
from serving.fake_faults import Fault
from serving.fake_node import FakeNode

from .prometheus_process import PrometheusProcess

ADMIN_KEY = "sk-tg-admin-0123456789abcdef"
CHAT = "/v1/chat/completions"
NODES = 3
SPOOL_ROWS_MAX = 2_000
PAUSE_S = 0.02
"""Between two requests of the load."""
_SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": _SCHEMA}}]
ROWS_OF_EPOCH_MIN = 100
"""So that there is something to earn in each."""
PARAMS = IdeParams(smoothing_s=3600)
PRICE_OF_IO_NANO_USD = 160_000_000
DEAR = TokenRate(model="fake", prompt_nano_usd=5_000, completion_nano_usd=5_000)
"""A supplier's rate that is far above what the customer pays."""


Keys = tuple[str, str, str]
"""Of a customer, of an aggregator, and of an account without credit."""


class Stack:
    def __init__(
        self,
        client: httpx.AsyncClient,
        keys: Keys,
        nodes: list[FakeNode],
        prometheus: PrometheusProcess,
        postgres: PostgresProcess,
    ) -> None:
        self.nodes = nodes
        self.prometheus = prometheus
        self.postgres = postgres
        self.answers: dict[int, int] = {}
        """How many there were, by status."""
        self._client = client
        self._keys = keys
        self._rng = random.Random(7)
        self._asked = 0
        self._settled_seq = 0

    async def load(self) -> None:
        """Until it is cancelled: chats of every sort, and now and then what is refused."""
        while True:
            await self.ask()
            await asyncio.sleep(PAUSE_S)

    async def ask(self) -> None:
        self._asked += 1
        key = self._keys[self._asked % 2]
        if self._asked % 40 == 9:
            key = self._keys[2]
        words = " ".join(self._rng.choices(WORDS, k=40))
        asked = {"model": "fake", "messages": [{"role": "user", "content": words}]}
        asked |= {"max_tokens": self._rng.randrange(8, 40), "stream": self._asked % 2 == 0}
        if self._asked % 10 == 3:
            asked |= {"tools": TOOLS, "tool_choice": "required", "stream": False}
        if self._asked == 20:
            await self.nodes[0].inject(Fault(status=503, requests=3))
        if self._asked % 40 == 7:
            asked |= {"model": "none"}
        headers = {"authorization": f"Bearer {key}"}
        answer = await self._client.post(CHAT, json=asked, headers=headers)
        self.answers[answer.status_code] = self.answers.get(answer.status_code, 0) + 1

    async def settle(self, *, dear: bool) -> None:
        """Close an epoch over what was charged; where it is dear, suppliers earn beyond it."""
        params = PARAMS
        if dear:
            params = IdeParams(smoothing_s=3600, token_rates=(DEAR,))

        def close() -> bool:
            with contextlib.closing(open_ledger(self.postgres.url)) as ledger:
                if ledger.last_seq() < self._settled_seq + ROWS_OF_EPOCH_MIN:
                    return False
                self._settled_seq = ledger.last_seq()
                done = settle(
                    ledger, params, io_price_nano_usd=PRICE_OF_IO_NANO_USD, now_ns=time.time_ns()
                )
            return done.row is not None

        await eventually(lambda: asyncio.to_thread(close), bool, within_s=30)

    async def fires(self, alert: str, *, within_s: float) -> float:
        """Seconds until it does."""
        began_s = time.monotonic()
        await eventually(
            lambda: asyncio.to_thread(self.prometheus.firing),
            lambda firing: alert in firing,
            within_s=within_s,
        )
        return time.monotonic() - began_s


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    """Open to all: PostgreSQL does not run as root."""
    with tempfile.TemporaryDirectory(prefix="tollgate-alerts-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


@contextlib.asynccontextmanager
async def stacked(*, speed: float) -> AsyncIterator[Stack]:
    with contextlib.ExitStack() as processes:
        folder = processes.enter_context(_folder())
        redis_folder, postgres_folder, prometheus_folder = (
            _made(folder / name) for name in ("redis", "postgres", "prometheus")
        )
        redis = processes.enter_context(RedisProcess(redis_folder))
        postgres = processes.enter_context(PostgresProcess(postgres_folder))
        secrets = _accounts(postgres.url)
        async with contextlib.AsyncExitStack() as nodes:
            each = [await nodes.enter_async_context(FakeNode(seed=n)) for n in range(NODES)]
            await each[2].inject(Fault(inflate_usage_percent=100))
            processes.enter_context(_environment(redis.url, postgres.url))
            server = _server(_made(folder / "home"), each)
            async with _running(server) as base_url:
                prometheus = processes.enter_context(
                    PrometheusProcess(
                        prometheus_folder, base_url.removeprefix("http://"), ADMIN_KEY, speed
                    )
                )
                async with httpx.AsyncClient(base_url=base_url, timeout=20) as client:
                    yield Stack(client, secrets, each, prometheus, postgres)


def _made(folder: Path) -> Path:
    folder.mkdir()
    folder.chmod(0o755)
    return folder


def _accounts(url: str) -> Keys:
    secret = open_account_at(url, "100")
    with contextlib.closing(open_database(url)) as database:
        keys = KeyStore(database)
        _, hub = keys.create("acme", "hub", terms=KeyTerms(usage_always=True))
        _, poor = keys.create("poor")
    return secret, hub, poor


@contextlib.contextmanager
def _environment(redis_url: str, ledger_url: str):
    os.environ |= {"TOLLGATE_ALERTS_REDIS": redis_url, "TOLLGATE_ALERTS_LEDGER": ledger_url}
    yield
    del os.environ["TOLLGATE_ALERTS_REDIS"], os.environ["TOLLGATE_ALERTS_LEDGER"]


def _server(home: Path, nodes: list[FakeNode]) -> GatewayServer:
    (home / "admin_key").write_text(ADMIN_KEY)
    text = MODEL.format(server="").replace(
        "automatic = false", 'automatic = true\nio_price_usd = "0.16"\nlease_s = 3'
    )
    text += f'tokenizer_file = "{write_word_tokenizer(home / "tokenizer.json")}"\n'
    for index, node in enumerate(nodes):
        text += NODE.format(index=index, url=node.url, engine="vllm", capacity=64)
    text += (
        '[redis]\nurl_env = "TOLLGATE_ALERTS_REDIS"\n[ledger]\nurl_env = "TOLLGATE_ALERTS_LEDGER"\n'
        f"[spool]\nrows_max = {SPOOL_ROWS_MAX}\n"
        "[honesty]\ncounters_interval_s = 0\nrecount_one_in = 5\n"
        '[[quota]]\ncategory = "chat"\nmodels = ["fake"]\ntokens_per_day = 1_000_000_000\n'
    )
    server = GatewayServer(Gateway(Home(home), parse(text)))
    server.capture_signals = contextlib.nullcontext  # whoever runs the tests keeps its signals
    return server


@contextlib.asynccontextmanager
async def _running(server: GatewayServer) -> AsyncIterator[str]:
    running = asyncio.create_task(server.serve())
    await eventually(lambda: server.started or running.done(), bool, within_s=20)
    if running.done():
        running.result()
    try:
        yield f"http://127.0.0.1:{server.port}"
    finally:
        server.should_exit = server.force_exit = True
        await running

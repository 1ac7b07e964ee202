"""A whole gateway in this process, on a real port, over fake nodes: for the behaviour suite."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path

import httpx
from raw_node import RawNode

from gateway.config import Config, parse
from gateway.home import Home
from gateway.server import GatewayServer
from gateway.wiring import Gateway
from metering.backend import open_database, open_ledger
from metering.charge import ChargeRecord
from metering.key_store import KeyStore
from metering.money import parse_usd
from metering.posting import deposit_group
from metering.sqlite_ledger import SqliteLedger
from serving.fake_node import FakeNode

CREDIT_USD = "1"
MODEL = """
[settlement]
automatic = false

[server]
port = 0
{server}

[[model]]
id = "fake"
context_tokens_max = 2048
prompt_usd_per_million = "0.20"
cached_prompt_usd_per_million = "0.10"
completion_usd_per_million = "0.60"
kinds = ["chat", "completions", "embeddings", "rerank", "score"]
"""
NODE = """
[[node]]
id = "node-{index}"
supplier = "supplier-{index}"
url = "{url}"
model = "fake"
engine = "{engine}"
capacity = {capacity}
"""


class Served:
    """A gateway under test: its HTTP client, its books."""

    def __init__(
        self,
        home: Path,
        server: GatewayServer,
        base_url: str,
        secret: str,
        client: httpx.AsyncClient,
    ) -> None:
        self.home = home
        self.server = server
        self.base_url = base_url
        self.secret = secret
        self.client = client

    async def charges(self, count: int, *, within_s: float = 30) -> list[ChargeRecord]:
        """The finished charges in the ledger, once there are `count` of them."""
        return await eventually(
            lambda: self._charges(), lambda found: len(found) >= count, within_s=within_s
        )

    def _charges(self) -> list[ChargeRecord]:
        with contextlib.closing(SqliteLedger(self.home / "ledger.db")) as ledger:
            return list(ledger.charges())

    def ledger(self) -> contextlib.closing[SqliteLedger]:
        return contextlib.closing(SqliteLedger(self.home / "ledger.db"))

    async def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric's samples that carry these labels."""
        return sample_sum((await self.client.get("/metrics")).text, name, labels)


async def eventually(look, good: Callable[..., bool], *, within_s: float = 30):
    """What `look` returns (or returns a promise of) once it is good; polled, with a deadline."""
    deadline = time.monotonic() + within_s
    while True:
        found = look()
        if isinstance(found, Awaitable):
            found = await found
        if good(found):
            return found
        assert time.monotonic() < deadline, f"still {found!r} after {within_s} s"
        await asyncio.sleep(0.01)


def sample_sum(exposition: str, name: str, labels: dict[str, str]) -> float:
    wanted = [f'{key}="{value}"' for key, value in labels.items()]
    lines = [line for line in exposition.splitlines() if line.startswith((name + "{", name + " "))]
    return sum(
        float(line.rpartition(" ")[2]) for line in lines if all(want in line for want in wanted)
    )


def configuration(
    nodes: Sequence[FakeNode | RawNode],
    *,
    engine: str = "vllm",
    capacity: int = 64,
    server: str = "",
    node: str = "",
    model: str = "",
) -> Config:
    """`server`, `node` and `model` are further lines of their tables."""
    scraped = not any(isinstance(each, RawNode) for each in nodes)  # those have no counters
    text = (
        ("" if scraped else "[honesty]\ncounters_interval_s = 0\n")
        + MODEL.format(server=server)
        + model
        + "".join(
            NODE.format(index=index, url=each.url, engine=engine, capacity=capacity) + node
            for index, each in enumerate(nodes)
        )
    )
    return parse(text)


def stranger(gateway: Served) -> str:
    """The key of another account."""
    with contextlib.closing(open_database(gateway.home / "ledger.db")) as database:
        return KeyStore(database).create("globex", "other")[1]


def open_account(home: Path, credit_usd: str) -> str:
    """An account `acme` with this credit; returns an API key of it."""
    return open_account_at(home / "ledger.db", credit_usd)


def open_account_at(where: Path | str, credit_usd: str) -> str:
    """The same in the ledger there."""
    deposit = deposit_group("acme", "acme", parse_usd(credit_usd))
    with contextlib.closing(open_ledger(where)) as ledger:
        (result,) = ledger.post("test", [deposit])
        assert result.booked
    with contextlib.closing(open_database(where)) as database:
        _, secret = KeyStore(database).create("acme", "test")
    return secret


@contextlib.asynccontextmanager
async def serve(
    home: Path, config: Config, *, driver: str = "protocol", credit_usd: str = CREDIT_USD
) -> AsyncIterator[Served]:
    """Run a gateway for the time of the block, then drain it."""
    secret = open_account(home, credit_usd)
    server = GatewayServer(Gateway(Home(home), config), driver=driver)
    server.capture_signals = contextlib.nullcontext  # pytest keeps its signals
    running = asyncio.create_task(server.serve())
    await eventually(lambda: server.started or running.done(), bool)
    if running.done():
        running.result()
    base_url = f"http://127.0.0.1:{server.port}"
    headers = {"authorization": f"Bearer {secret}"}
    try:
        async with httpx.AsyncClient(base_url=base_url, headers=headers, timeout=20) as client:
            yield Served(home, server, base_url, secret, client)
    finally:
        server.should_exit = True
        await running

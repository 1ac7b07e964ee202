"""A Ray cluster of four labelled nodes, the pools of a configuration on it, a gateway before it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from served import Served, eventually, serve

from gateway.config import load
from metering.backend import open_database
from metering.key_store import KeyStore
from metering.keys import KeyTerms
from serving.pool_state import PoolState, pool_states
from serving.ray_dashboard import RayUnavailableError
from serving.ray_discovery import RayDiscovery

from .clients import Client
from .ray_cluster import NodeKind, RayCluster

KINDS = (
    NodeKind("h100-a", "h100", 2),
    NodeKind("h100-b", "h100", 2),
    NodeKind("a100-a", "a100", 4),
    NodeKind("rtx4090-a", "rtx4090", 2),
)
UNTIL_S = 180.0
"""Nothing takes so long, even on a machine with much else to do."""

CONFIG = """
[settlement]
automatic = false

[honesty]
counters_interval_s = 0

[server]
port = 0
stream_keep_alive_s = 1

[ray]
dashboard_url = "{dashboard_url}"
token_file = "{token_file}"
poll_interval_ms = 250
wake_wait_s = 400
proxy_port = {proxy_port}
cache_dir = "{cache_dir}"

[[gpu_class]]
name = "h100"
gpu = "H100"
supplier = "alice"
labels = {{ gpu-type = "h100" }}

[[gpu_class]]
name = "a100"
gpu = "A100"
supplier = "bob"
labels = {{ gpu-type = "a100" }}

[[gpu_class]]
name = "rtx4090"
gpu = "RTX 4090"
supplier = "carol"
labels = {{ gpu-type = "rtx4090" }}

[[gpu_class]]
name = "cpu"
supplier = "dave"
labels = {{ gpu-type = "rtx4090" }}
gpus_per_replica = 0
"""
MODEL = """
[[model]]
id = "{id}"
context_tokens_max = 2048
prompt_usd_per_million = "0.20"
cached_prompt_usd_per_million = "0.10"
completion_usd_per_million = "0.60"
path = "{path}"
"""
POOL = """
[[model.pool]]
gpu_class = "{gpu_class}"
replicas_min = {least}
replicas_max = {most}
target_ongoing_requests = 4
upscale_delay_s = 1
downscale_delay_s = 3
downscale_to_zero_delay_s = 3
drain_s = 60
{more}
"""


def model(model_id: str, *pools: str, path: str = "") -> str:
    return MODEL.format(id=model_id, path=path) + "".join(pools)


def pool(gpu_class: str, least: int, most: int, token_ms: int = 50) -> str:
    """Of simulated engines."""
    more = f"simulated = {{ ttft_ms = 20, token_ms = {token_ms} }}"
    return POOL.format(gpu_class=gpu_class, least=least, most=most, more=more)


class Stand:
    """The gateway runs in this process; Ray, and what it starts, in their own."""

    def __init__(self, folder: Path, cluster: RayCluster, streams: int) -> None:
        """`streams`: so many at once go through an update."""
        self.cluster = cluster
        self.streams = streams
        self.home = folder / "home"
        self.home.mkdir()
        self._gateway: Served | None = None
        self._ray_nodes: dict[str, str] = {}

    def configure(self, *models: str) -> None:
        """Write the configuration that `tollgate pools` and a gateway read."""
        head = self.cluster.head
        text = CONFIG.format(
            dashboard_url=head.dashboard.url,
            token_file=head.token_path,
            proxy_port=head.proxy_port,
            cache_dir=self.home / "cache",
        )
        (self.home / "tollgate.toml").write_text(text + "".join(models))

    async def tollgate(self, *arguments: str) -> list[dict[str, Any]]:
        """What `tollgate pools` prints."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "gateway", "pools", *arguments),
            *("--json", "--home", str(self.home)),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        said, wrong = await process.communicate()
        assert process.returncode == 0, wrong.decode()
        data: list[dict[str, Any]] = json.loads(said)["data"]
        return data

    async def changes(self, *arguments: str) -> Counter[str]:
        """What `tollgate pools apply` did, waited for."""
        told = await self.tollgate("apply", "--wait", "180", *arguments)
        return Counter(each["change"] for each in told)

    async def pools(self) -> dict[str, PoolState]:
        """By model and class; the last ones while the dashboard is too busy to answer."""
        while True:
            with contextlib.suppress(RayUnavailableError):
                state = await asyncio.to_thread(self.cluster.head.dashboard.applications)
                return {pool.app: pool for pool in pool_states(state)}

    async def running(self, app: str) -> int:
        return (await self.pools())[app].running

    async def until(self, what: str, good: Callable[[dict[str, PoolState]], bool]) -> float:
        """Seconds until the pools are so."""
        began_s = time.monotonic()
        while not good(pools := await self.pools()):
            assert time.monotonic() - began_s < UNTIL_S, f"{what}: not in {UNTIL_S} s: {pools}"
            await asyncio.sleep(0.1)
        return time.monotonic() - began_s

    async def owners(self) -> set[tuple[str, str, str, str]]:
        """Model, class, GPU and supplier, as discovery tells the gateway of each replica."""
        found = await RayDiscovery(self.cluster.head.dashboard).poll()
        return {(each.model, each.pool, each.gpu, each.supplier_id) for each in found.records}

    async def where(self, app: str) -> list[str]:
        """Names of the nodes that its running replicas are on."""
        replicas = (await self.pools())[app].replicas
        if not {replica.ray_node_id for replica in replicas} <= self._ray_nodes.keys():
            self._ray_nodes |= await asyncio.to_thread(self.cluster.names)
        running = [replica for replica in replicas if replica.state == "RUNNING"]
        return sorted(self._ray_nodes[replica.ray_node_id] for replica in running)

    @contextlib.asynccontextmanager
    async def gateway(self) -> AsyncIterator[Served]:
        config = load(self.home / "tollgate.toml")
        async with serve(self.home, config, credit_usd="1000") as served:
            yield served

    async def until_unlisted(self, served: Served, model_id: str) -> None:
        """Until the gateway knows of no replica of it."""
        await eventually(
            lambda: served.client.get("/readyz"),
            lambda answer: not answer.json()["nodes_ready"][model_id],
            within_s=UNTIL_S,
        )

    def impatient_key(self) -> str:
        """Of one who will not wait for a model to start."""
        with contextlib.closing(open_database(self.home / "ledger.db")) as database:
            terms = KeyTerms(refuses_waking=True)
            return KeyStore(database).create("acme", "impatient", terms)[1]


def client_of(served: Served, secret: str | None = None) -> Client:
    return Client(int(served.base_url.rpartition(":")[2]), secret or served.secret)


@contextlib.asynccontextmanager
async def standing(folder: Path, streams: int = 50) -> AsyncIterator[Stand]:
    cluster = await asyncio.to_thread(RayCluster, folder, KINDS)
    try:
        yield Stand(folder, cluster, streams)
    finally:
        await asyncio.to_thread(cluster.close)

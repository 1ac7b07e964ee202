"""A gateway over four fake nodes in two regions: an admin key, traffic, a settled epoch.

Three nodes are the operator's, the fourth enrolled itself and says that it has 8 GPUs.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
from served import Served, configuration, eventually, serve

from gateway.config import Config
from gateway.enrolment.config import EnrolmentConfig
from gateway.enrolment.enrolment import invitation
from gateway.enrolment.node import Terms
from gateway.enrolment.node_store import NodeStore
from gateway.routing.config import RouterConfig
from ide.params import IdeParams
from ide.settlement import settle
from metering.backend import open_database
from serving.enrolment.messages import Hardware, Lease
from serving.fake_node import FakeNode
from serving.simulated_engine import Pace

ADMIN_KEY = "sk-tg-admin-0123456789abcdef"
REGIONS = ("eu-west", "eu-west", "us-east")
ENROLLED = "n-enrolled"
IO_PRICE_NANO_USD = 160_000_000
ASKED = {"model": "fake", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 8}
PACE = Pace(ttft_ms=20, token_ms=4)
_HOUR_NS = 3600 * 10**9


def config_over(nodes: list[FakeNode]) -> Config:
    config = configuration(nodes)
    placed = [
        msgspec.structs.replace(node, region=region, gpu="H100" if index else "A100")
        for index, (node, region) in enumerate(zip(config.node, REGIONS, strict=True))
    ]
    return msgspec.structs.replace(
        config,
        node=tuple(placed),
        router=RouterConfig(decisions_kept=100),
        enrolment=EnrolmentConfig(authority="gateway.test", allow_http=True),
        settlement=msgspec.structs.replace(config.settlement, io_price_usd="0.16"),
    )


def enrol(home: Path, node: FakeNode) -> None:
    """As if it had said so itself, with a lease of an hour."""
    now_ns = time.time_ns()
    terms = Terms(supplier_id="supplier-9", tier=1, region="us-east", gpu="H100")
    _, made = invitation(terms, now_ns + _HOUR_NS)
    hardware = Hardware(gpu="NVIDIA H100 80GB HBM3", gpus=8, engine="vllm 0.32")
    said = Lease(state="ready", url=node.url, model="fake", capacity=64, hardware=hardware)
    with contextlib.closing(open_database(home / "ledger.db")) as database:
        store = NodeStore(database)
        store.invite(made, now_ns)
        store.enrol(
            "a public key", 1, digest=made.digest, node_id=ENROLLED, hardware=hardware,
            now_ns=now_ns,
        )  # fmt: skip
        store.lease(ENROLLED, 1, said, now_ns=now_ns, until_ns=now_ns + _HOUR_NS)


@contextlib.asynccontextmanager
async def console_world(home: Path, *, chats: int = 6) -> AsyncIterator[Served]:
    (home / "admin_key").write_text(ADMIN_KEY + "\n")
    async with contextlib.AsyncExitStack() as stack:
        nodes = [
            await stack.enter_async_context(FakeNode(seed=seed, pace=PACE)) for seed in range(4)
        ]
        served = await stack.enter_async_context(serve(home, config_over(nodes[:3])))
        for _ in range(chats):
            (await served.client.post("/v1/chat/completions", json=ASKED)).raise_for_status()
        await served.charges(chats)
        with served.ledger() as ledger:
            settle(ledger, IdeParams(), io_price_nano_usd=IO_PRICE_NANO_USD, now_ns=10**18)
        enrol(home, nodes[3])

        async def ready() -> int:
            return (await served.client.get("/readyz")).json()["nodes_ready"]["fake"]

        await eventually(ready, lambda count: count == 4)
        yield served

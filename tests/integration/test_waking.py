"""A model at zero, seen by clients: a gateway, a Ray that is a page of the test's own, a node."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from served import MODEL, Served, eventually, serve

from gateway.config import parse
from metering.backend import open_database
from metering.charge import ChargeOutcome
from metering.key_store import KeyStore
from metering.keys import KeyTerms
from serving.engine_spec import Device, EngineSpec, ModelFacts
from serving.fake_node import FakeNode
from serving.ray_app import Pool, Scaling, app_config

pytestmark = pytest.mark.anyio

ASK = {"model": "fake", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 3}
SPEC = EngineSpec(
    model_path="/models/fake",
    served_name="fake",
    facts=ModelFacts(kinds=(), context_tokens_max=2048, kv_bytes_per_token=0),
    device=Device.GPU,
    cache_dir="cache",
)
APP = app_config(SPEC, Pool(name="h100", scaling=Scaling(replicas_min=0, replicas_max=1)))
PREFIX = APP["route_prefix"]


class Ray:
    """One application with no replica, or with one; its proxy is woken by being asked."""

    def __init__(self) -> None:
        self.node: FakeNode | None = None
        self.woken = asyncio.Event()
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path = (await reader.readuntil(b"\r\n\r\n")).split()[1].decode()
        if path.startswith(PREFIX):
            self.woken.set()
            await reader.read()  # held open until the gateway has what it wants
        else:
            body = json.dumps(self._state()).encode()
            head = f"HTTP/1.1 200 OK\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
            writer.write(head.encode() + body)
        writer.close()

    def _state(self) -> dict[str, Any]:
        name, port, replicas = "SERVE_PROXY_ACTOR-1", self.port, []
        if self.node is not None:
            name, port = "SERVE_REPLICA::fake-h100#Replica#abc", int(self.node.url[-5:])
            replicas = [{"replica_id": "abc", "state": "RUNNING", "node_id": "1"}]
        deployment = {"message": "", "target_num_replicas": len(replicas), "replicas": replicas}
        return {
            "applications": {
                APP["name"]: {
                    "status": "RUNNING",
                    "message": "",
                    "deployed_app_config": APP,
                    "deployments": {"Replica": deployment},
                }
            },
            "target_groups": [
                {
                    "app_name": APP["name"],
                    "route_prefix": PREFIX if self.node is None else "/",
                    "protocol": "HTTP",
                    "targets": [{"ip": "127.0.0.1", "port": port, "name": name}],
                }
            ],
        }


@pytest.fixture
async def ray() -> AsyncIterator[Ray]:
    ray = Ray()
    async with await asyncio.start_server(ray.serve, "127.0.0.1", 0) as server:
        ray.port = server.sockets[0].getsockname()[1]
        yield ray


@contextlib.asynccontextmanager
async def gateway(ray: Ray, tmp_path, wait_s: int) -> AsyncIterator[Served]:
    text = f'[ray]\ndashboard_url = "http://127.0.0.1:{ray.port}"\npoll_interval_ms = 50\n'
    text += f"wake_wait_s = {wait_s}\n" + MODEL.format(server="stream_keep_alive_s = 1")
    async with serve(tmp_path, parse("[honesty]\ncounters_interval_s = 0\n" + text)) as served:
        await eventually(
            lambda: served.client.get("/readyz"), lambda answer: answer.status_code == 200
        )
        yield served


async def post(served: Served, **fields: object):
    return await served.client.post("/v1/chat/completions", json={**ASK, **fields})


async def test_the_first_requests_wait_for_the_replica_that_they_wake(ray, tmp_path):
    async with gateway(ray, tmp_path, 60) as served, FakeNode() as node:
        waiting = asyncio.create_task(post(served))
        asked = served.client.stream("POST", "/v1/chat/completions", json={**ASK, "stream": True})
        async with asked as streamed:
            lines = streamed.aiter_lines()
            assert await anext(lines) == ": keep-alive"
            await asyncio.wait_for(ray.woken.wait(), 10)
            assert not waiting.done()
            ray.node = node
            told = [line async for line in lines if line.startswith("data: ")]
            assert told[-1] == "data: [DONE]"
        assert (await waiting).status_code == 200
        charges = await served.charges(2)
        assert {charge.outcome for charge in charges} == {ChargeOutcome.COMPLETED}
        assert {charge.node_id for charge in charges} == {"fake-h100.Replica.abc"}
        assert len(node.received) == 2


async def test_who_would_rather_be_refused_is_and_the_model_is_woken(ray, tmp_path):
    async with gateway(ray, tmp_path, 60) as served:
        with contextlib.closing(open_database(tmp_path / "ledger.db")) as database:
            terms = KeyTerms(refuses_waking=True)
            _, secret = KeyStore(database).create("acme", "impatient", terms)
        served.client.headers["authorization"] = f"Bearer {secret}"
        refused = await post(served)
        assert refused.status_code == 429
        assert int(refused.headers["retry-after"]) == 30
        assert refused.json()["error"]["code"] == "no_capacity"
        await asyncio.wait_for(ray.woken.wait(), 10)


async def test_a_wait_without_an_end_ends_costs_nothing_and_is_counted(ray, tmp_path):
    async with gateway(ray, tmp_path, 1) as served:
        streamed, whole = await asyncio.gather(post(served, stream=True), post(served))
        assert whole.status_code == 429
        assert int(whole.headers["retry-after"]) >= 1
        assert '"code":429' in streamed.text or streamed.status_code == 429
        charges = await served.charges(2)
        assert {charge.charged_nano_usd for charge in charges} == {0}
        assert {charge.node_id for charge in charges} == {None}
        metrics = await served.client.get("/metrics")
        assert metrics.status_code == 200
        assert 'outcome="no_capacity"' in metrics.text

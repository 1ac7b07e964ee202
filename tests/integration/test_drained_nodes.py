"""A node that the operator drains gets nothing more, on every gateway, whoever lists it."""

from __future__ import annotations

import contextlib
import time

import pytest
from served import configuration, eventually, serve

from gateway.drain_store import DrainKind, DrainStore
from metering.backend import open_database
from serving.fake_node import FakeNode

pytestmark = pytest.mark.anyio
ASKED = {"model": "fake", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 2}


async def test_a_drain_that_another_process_asks_for_is_heard_and_outlives_a_restart(tmp_path):
    async with FakeNode() as one, FakeNode() as other:
        config = configuration([one, other])
        async with serve(tmp_path, config) as served:
            with contextlib.closing(open_database(tmp_path / "ledger.db")) as database:
                DrainStore(database).drain(DrainKind.NODE, "node-0", time.time_ns())
            await eventually(lambda: _ready(served), lambda count: count == 1)
            await _only(served, one)
        async with serve(tmp_path, config) as served:
            assert await _ready(served) == 1
            await _only(served, one)
            with contextlib.closing(open_database(tmp_path / "ledger.db")) as database:
                DrainStore(database).end(DrainKind.NODE, "node-0")
            await eventually(lambda: _ready(served), lambda count: count == 2)


async def _ready(served) -> int:
    return (await served.client.get("/readyz")).json()["nodes_ready"]["fake"]


async def _only(served, drained: FakeNode) -> None:
    before = len(drained.received)
    for _ in range(6):
        (await served.client.post("/v1/chat/completions", json=ASKED)).raise_for_status()
    assert len(drained.received) == before

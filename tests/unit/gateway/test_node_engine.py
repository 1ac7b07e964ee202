"""An engine that runs already: no node is listed before it serves what the node says."""

from __future__ import annotations

import asyncio
import threading

import click
import pytest

from gateway.cli import node_engine
from gateway.cli.node_engine import await_engine
from serving.fake_node import FakeNode
from serving.free_ports import free_ports

pytestmark = pytest.mark.anyio


async def test_it_is_waited_for(monkeypatch):
    (port,) = free_ports(1)
    looked, said = threading.Event(), []
    monkeypatch.setattr(node_engine, "_POLL_S", 0.01)
    monkeypatch.setattr(node_engine.click, "echo", lambda line: (said.append(line), looked.set()))
    waiting = asyncio.create_task(
        asyncio.to_thread(await_engine, f"http://127.0.0.1:{port}", "fake")
    )
    await asyncio.to_thread(looked.wait)
    assert not waiting.done()
    async with FakeNode(port=port):
        await asyncio.wait_for(waiting, 60)
    assert said[0].startswith(f"waiting for the engine: GET http://127.0.0.1:{port}/v1/models: ")


async def test_one_that_serves_another_model_is_refused():
    async with FakeNode() as engine:
        with pytest.raises(click.ClickException, match="serves fake; not 'other'"):
            await asyncio.to_thread(await_engine, engine.url, "other")


async def test_what_is_no_engine_is_refused():
    async with FakeNode() as engine:
        with pytest.raises(click.ClickException, match="no list of models"):
            await asyncio.to_thread(await_engine, f"{engine.url}/v1", "fake")

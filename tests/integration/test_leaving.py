"""A gateway that is told to stop: it says so before it closes its port, and cuts nobody off."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import time

import httpx
import pytest
from served import eventually
from together import together, write_config

from metering.sqlite_ledger import SqliteLedger
from serving.fake_node import FakeNode
from serving.simulated_engine import Pace

pytestmark = pytest.mark.anyio
CHAT = "/v1/chat/completions"
ASKED = {"model": "fake", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 5}
ENDLESS = ASKED | {"stream": True, "max_tokens": 150, "ignore_eos": True}
LEAVE_S = 4


async def test_it_says_that_it_leaves_and_serves_until_nobody_asks(tmp_path):
    async with FakeNode(pace=Pace(token_ms=40)) as node:
        write_config(tmp_path, [node], server=f"leave_s = {LEAVE_S}", more="")
        async with together(tmp_path, "--workers", "1") as running, kept_alive(running) as kept:
            assert (await kept.post(CHAT, json=ASKED)).headers.get("connection") != "close"
            long = asyncio.create_task(running.client.post(CHAT, json=ENDLESS))
            await eventually(lambda: node.engine.running, lambda count: count == 1)
            said_s = time.monotonic()
            running.signal(signal.SIGTERM)
            told = await eventually(
                lambda: running.client.get("/readyz"), lambda answer: answer.status_code == 503
            )
            assert told.json()["reasons"] == ["shutting down"]
            for client in (kept, running.client):
                answer = await client.post(CHAT, json=ASKED)
                assert (answer.status_code, answer.headers["connection"]) == (200, "close")
            await eventually(lambda: refuses(running.client), bool, within_s=20)
            assert time.monotonic() - said_s >= LEAVE_S
            assert (await long).text.endswith("[DONE]\n\n")
            assert await running.ended() == 0
    with contextlib.closing(SqliteLedger(tmp_path / "ledger.db")) as ledger:
        assert len(list(ledger.charges())) == 4
        assert ledger.verify().ok


async def test_what_began_before_its_port_closed_is_served(tmp_path):
    """Half of a head, and half of a body."""
    body = json.dumps(ASKED).encode()
    async with FakeNode() as node:
        write_config(tmp_path, [node], more="")
        async with together(tmp_path, "--workers", "1") as running:
            url = running.client.base_url
            head = f"POST {CHAT} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {running.secret}\r\n"
            head += f"content-length: {len(body)}\r\n\r\n"
            data = head.encode() + body
            halves = [len(head) // 2, len(head) + 5]
            opened = [await asyncio.open_connection(url.host, url.port) for _ in halves]
            for half, (_, writer) in zip(halves, opened, strict=True):
                writer.write(data[:half])
            await running.client.get("/healthz")  # the halves came before it
            running.signal(signal.SIGTERM)
            await eventually(lambda: refuses(running.client), bool)
            for half, (reader, writer) in zip(halves, opened, strict=True):
                writer.write(data[half:])
                assert (await reader.read()).startswith(b"HTTP/1.1 200 OK\r\n")
                writer.close()
            assert await running.ended() == 0


@contextlib.asynccontextmanager
async def kept_alive(running):
    """A client that keeps its connection."""
    known = {"base_url": running.client.base_url, "headers": running.client.headers}
    async with httpx.AsyncClient(**known, timeout=20) as client:
        yield client


async def refuses(client: httpx.AsyncClient) -> bool:
    """Not by httpx, which trips over a connection that is reset while it is being made."""
    try:
        _, writer = await asyncio.open_connection(client.base_url.host, client.base_url.port)
    except ConnectionRefusedError:
        return True
    except OSError:
        return False
    writer.transport.abort()
    return False

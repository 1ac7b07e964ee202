"""A gateway of which a part failed, for whatever reason, does not go on without it."""

from __future__ import annotations

import asyncio
import contextlib
import sys

import httpx
import pytest
from served import open_account
from together import WAIT_S, together, write_config

from metering.charge import ChargeOutcome
from metering.sqlite_ledger import SqliteLedger
from serving.fake_node import FakeNode
from serving.simulated_engine import Pace

pytestmark = pytest.mark.anyio
TOKENS = 60
FAILS = """
import asyncio, pathlib, sys
from gateway import wiring

async def fails(_):
    while not pathlib.Path(sys.argv[-1], "fail").exists():
        await asyncio.sleep(0.01)
    raise RuntimeError("nobody thought of this")

wiring.watch_balances = fails
from gateway.cli import main
main()
"""


async def test_it_finishes_what_is_under_way_and_ends_with_status_1(tmp_path):
    body = {
        "model": "fake",
        "messages": [{"role": "user", "content": "hi"}],
        "max_tokens": TOKENS,
        "ignore_eos": True,
        "stream": True,
    }
    async with FakeNode(pace=Pace(ttft_ms=2, token_ms=20)) as node:
        write_config(tmp_path, [node], more="")
        secret = open_account(tmp_path, "1")
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", FAILS, "serve", "--home", str(tmp_path)),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            line = await asyncio.wait_for(process.stdout.readline(), WAIT_S)
            async with (
                httpx.AsyncClient(headers={"authorization": f"Bearer {secret}"}) as client,
                client.stream(
                    "POST", line.split()[1].decode() + "/chat/completions", json=body
                ) as answer,
            ):
                parts = answer.aiter_bytes()
                told = await anext(parts)
                (tmp_path / "fail").touch()
                told += b"".join([part async for part in parts])
            assert told.endswith(b"data: [DONE]\n\n")
            _, said = await asyncio.wait_for(process.communicate(), WAIT_S)
            assert process.returncode == 1
            assert b"nobody thought of this" in said
            assert b"a part of the gateway failed, so it stops" in said
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        async with together(tmp_path, "--workers", "1", secret=secret) as again:
            await again.end()
    with contextlib.closing(SqliteLedger(tmp_path / "ledger.db")) as ledger:
        (charge,) = ledger.charges()
    assert (charge.outcome, charge.completion_tokens) == (ChargeOutcome.COMPLETED, TOKENS)

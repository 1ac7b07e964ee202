"""A price that the operator sets, over several processes: all go over to it at its moment."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time

import msgspec
import pytest
from together import together, write_config

from gateway.home import Home
from gateway.telemetry.reports import Report
from metering.sqlite_ledger import SqliteLedger
from serving.fake_node import FakeNode

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("redis")]
ASKED = {"model": "fake", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 2}
OLD, NEW = "200/100/600", "1/1/2"
SET = ("price", "set", "fake", "--prompt", "0.001", "--completion", "0.002", "--json")


async def set_price(home) -> int:
    """The moment from which it holds."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gateway", *SET, "--home", str(home), stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    assert process.returncode == 0
    return json.loads(out)["effective_ns"]


async def test_all_workers_go_over_at_the_moment(tmp_path):
    async with FakeNode() as node:
        write_config(tmp_path, [node])
        async with together(tmp_path, "--workers", "2") as running:
            effective_ns = await set_price(tmp_path)

            async def ask_on() -> None:
                while time.time_ns() < effective_ns + 2 * 10**8:
                    assert await running.once("/v1/chat/completions", ASKED) is not None

            await asyncio.gather(ask_on(), ask_on())
            await running.end()
        files = [Home(tmp_path).metrics_file(worker) for worker in range(2)]
        for file in files:
            report = msgspec.msgpack.decode(file.read_bytes(), type=Report)
            assert sum(ended.requests for ended in report.counts.ended.values()) > 0
        with contextlib.closing(SqliteLedger(tmp_path / "ledger.db")) as ledger:
            charges = list(ledger.charges())
        for charge in charges:
            assert charge.price_version == (NEW if charge.created_ns >= effective_ns else OLD)
        assert {charge.price_version for charge in charges} == {OLD, NEW}

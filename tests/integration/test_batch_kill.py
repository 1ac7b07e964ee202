"""SIGKILL in the middle of a batch: each line is answered once and charged once all the same."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from pathlib import Path

import killed_gateway
import openai
import pytest
from batch_lines import charges_of, check_once, create, line, lines_of, sdk, until_over
from served import eventually
from together import Together, together, write_config

from metering.sqlite_database import SqliteDatabase
from serving.fake_node import FakeNode
from serving.simulated_engine import Pace

pytestmark = pytest.mark.anyio

LINES = 200
KILLED_AT = (20, 90)
"""Lines done when the gateway dies."""
ALONE = ("--workers", "1")
FEW, DIES_AT = 12, 5


async def test_a_batch_survives_two_kills_of_its_gateway(tmp_path: Path) -> None:
    secret, batch_id = None, None
    async with FakeNode(pace=Pace(ttft_ms=20, token_ms=2)) as node:
        write_config(tmp_path, [node], more="")
        for killed_at in KILLED_AT:
            async with together(tmp_path, *ALONE, secret=secret) as gateway:
                secret = gateway.secret
                async with client_of(gateway) as client:
                    if batch_id is None:
                        lines = [line(number, seed=number) for number in range(LINES)]
                        batch_id = (await create(client, *lines)).id
                    await done(client, batch_id, killed_at)
                    gateway.process.kill()
                    await gateway.process.wait()
        async with together(tmp_path, *ALONE, secret=secret) as gateway:
            async with client_of(gateway) as client:
                batch = await until_over(client, batch_id)
                answers = await lines_of(client, batch.output_file_id)
            await gateway.end()
    assert batch.status == "completed"
    assert (batch.request_counts.completed, batch.request_counts.failed) == (LINES, 0)
    check_once(answers, charges_of(tmp_path), LINES)


@pytest.mark.usefixtures("redis")
async def test_a_batch_goes_on_when_the_worker_that_runs_it_dies(tmp_path: Path) -> None:
    """Another takes over, and what the dead one had under way is settled by its successor."""
    async with FakeNode(pace=Pace(ttft_ms=20, token_ms=2)) as node:
        write_config(tmp_path, [node])
        async with together(tmp_path, "--workers", "2") as gateway, client_of(gateway) as client:
            batch_id = (await create(client, *(line(n, seed=n) for n in range(LINES)))).id
            await done(client, batch_id, 20)
            for pid in gateway.workers:
                with contextlib.closing(SqliteDatabase(tmp_path / "ledger.db")) as database:
                    before = database.query("SELECT count(*) FROM batch_line")[0][0]
                os.kill(pid, signal.SIGKILL)
                await again(client, batch_id, before + 20)
            batch = await until_over(client, batch_id)
            answers = await lines_of(client, batch.output_file_id)
            await gateway.end()
    assert batch.status == "completed"
    check_once(answers, charges_of(tmp_path), LINES)


async def again(client, batch_id: str, lines: int) -> None:
    """As `done`, by whichever worker lives."""
    while True:
        try:
            await done(client, batch_id, min(lines, LINES))
        except openai.APIConnectionError:
            continue
        return


def client_of(gateway: Together):
    return sdk(str(gateway.client.base_url).rstrip("/"), gateway.secret)


async def done(client, batch_id: str, lines: int) -> None:
    await eventually(
        lambda: client.batches.retrieve(batch_id),
        lambda batch: batch.request_counts.completed >= lines,
        within_s=60,
    )


@pytest.mark.parametrize("point", ["asked", "kept", "charged"])
async def test_no_point_of_a_line_is_one_to_die_at(point: str, tmp_path: Path, monkeypatch) -> None:
    """Between an answer and its charge, and between the charge and the line's end, above all."""
    script = str(Path(killed_gateway.__file__))
    with monkeypatch.context() as patched:
        patched.setattr(
            "together.command",
            lambda home, *more: [
                *(sys.executable, script, point, str(DIES_AT), "serve", "--home", str(home)),
                *more,
            ],
        )
        async with FakeNode(pace=Pace(ttft_ms=20)) as node:
            write_config(tmp_path, [node], more="")
            async with together(tmp_path, *ALONE) as gateway, client_of(gateway) as client:
                batch_id = (await create(client, *(line(n, seed=n) for n in range(FEW)))).id
                await gateway.process.wait()
            patched.undo()
            async with together(tmp_path, *ALONE, secret=gateway.secret) as again:
                async with client_of(again) as client:
                    batch = await until_over(client, batch_id)
                    answers = await lines_of(client, batch.output_file_id)
                await again.end()
    charges = charges_of(tmp_path)
    check_once(answers, charges, FEW)
    assert batch.request_counts.completed == FEW

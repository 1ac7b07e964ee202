"""Disks that are full or read-only, two gateways on one spool: refused or survived, with a clear
message, and nothing that was acknowledged is lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import httpx
import pytest
from redis_process import RedisProcess
from served import eventually, open_account, open_account_at
from together import LEDGER, REDIS, write_config

from metering.backend import open_ledger
from metering.charge import ChargeOutcome, ChargeRecord
from metering.money import parse_usd
from metering.sqlite_ledger import SqliteLedger
from serving.fake_node import FakeNode
from serving.simulated_engine import Pace

from . import read_only
from .load import Load
from .small_disk import SmallDisk, small_disk
from .verdict import Nodes, faults

pytestmark = pytest.mark.anyio
CHAT = "/v1/chat/completions"
START_S = 120
CLIENTS = 8
SEGMENT_BYTES = 40_000
SMALL_SEGMENTS = (
    f"from metering import spool_log; spool_log.SEGMENT_BYTES = {SEGMENT_BYTES}; "
    "from gateway.cli import main; main()"
)
"""A gateway that needs room for another segment every hundred requests."""


class Running:
    """A gateway as a process, and a client of it."""

    def __init__(self, process: asyncio.subprocess.Process, secret: str, log: Path) -> None:
        self.process = process
        self.log = log
        self.client = httpx.AsyncClient()
        self._secret = secret

    async def serving(self) -> None:
        assert self.process.stdout is not None
        line = await asyncio.wait_for(self.process.stdout.readline(), START_S)
        assert line.startswith(b"Serving "), self.log.read_text()
        self.client = httpx.AsyncClient(
            base_url=line.split()[1].decode().removesuffix("/v1"),
            headers={"authorization": f"Bearer {self._secret}"},
            timeout=20,
        )

    @property
    def port(self) -> int:
        port = self.client.base_url.port
        assert port is not None
        return port

    async def ask(self) -> httpx.Response:
        hi = [{"role": "user", "content": "hi there"}]
        return await self.client.post(
            CHAT, json={"model": "fake", "messages": hi, "max_tokens": 12, "ignore_eos": True}
        )

    async def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return await asyncio.wait_for(self.process.wait(), START_S)


def serve_command(home: Path) -> list[str]:
    return [sys.executable, "-c", SMALL_SEGMENTS, "serve", "--home", str(home)]


@contextlib.asynccontextmanager
async def running(command: Sequence[str], secret: str, log: Path) -> AsyncIterator[Running]:
    with log.open("ab") as stderr:
        process = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.PIPE, stderr=stderr, env=dict(os.environ)
        )
    gateway = Running(process, secret, log)
    try:
        await gateway.serving()
        yield gateway
    finally:
        await gateway.client.aclose()
        if process.returncode is None:
            await gateway.end(signal.SIGKILL)


def refusal(command: Sequence[str]) -> str:
    """The one line of a start that fails."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=START_S, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "Traceback" not in done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("tollgate serve: ")]
    return line


def booked(disk: SmallDisk) -> int:
    """How many charges the ledger has, while a gateway has it open."""
    count = "import sqlite3, sys; db = sqlite3.connect(sys.argv[1]); "
    count += "print(db.execute('SELECT count(*) FROM charge').fetchone()[0])"
    command = disk.within(sys.executable, "-c", count, str(disk.inside / "ledger.db"))
    return int(subprocess.run(command, capture_output=True, check=True).stdout)


def copy_of(disk: SmallDisk, folder: Path) -> Path:
    return Path(shutil.copytree(disk.outside, folder / "copy"))


def assert_books(home: Path, answered: int) -> None:
    """Every answer is charged once, and whatever else was begun is free or short of its end."""
    with contextlib.closing(SqliteLedger(home / "ledger.db")) as ledger:
        assert ledger.verify().ok
        assert not any(line.balance.debits_pending for line in ledger.trial_balance())
        charges = list(ledger.charges())
    done = [charge for charge in charges if charge.outcome is ChargeOutcome.COMPLETED]
    assert len(done) == len({charge.request_id for charge in charges} & _ids(done)) == answered
    assert {charge.completion_tokens for charge in done} == {12}


def _ids(charges: list[ChargeRecord]) -> set[str]:
    return {charge.request_id for charge in charges}


@contextlib.asynccontextmanager
async def furnished(folder: Path, disk: SmallDisk) -> AsyncIterator[str]:
    """A home on the disk, its node, and the secret of a key."""
    async with FakeNode() as node:
        home = folder / "new"
        home.mkdir()
        write_config(home, [node], more="")
        secret = open_account(home, "1")
        for file in home.iterdir():
            shutil.copy(file, disk.outside)
        yield secret


async def test_a_full_disk_stops_what_cannot_be_recorded_and_loses_nothing(tmp_path):
    with small_disk(tmp_path, "12m") as disk:
        async with furnished(tmp_path, disk) as secret:
            command, log = disk.within(*serve_command(disk.inside)), tmp_path / "log"
            async with running(command, secret, log) as gateway:
                for _ in range(20):
                    answer = await gateway.ask()
                    assert answer.status_code == 200, answer.text + log.read_text()
                answered = 20
                ballast = disk.fill()
                statuses: set[int] = set()
                for _ in range(600):
                    answer = await gateway.ask()
                    answered += answer.status_code == 200
                    if answer.status_code != 200:
                        statuses.add(answer.status_code)
                        break
                assert statuses, "the disk is not full"
                assert answer.json()["error"]["code"] == "not_recording"
                assert (await gateway.client.get("/readyz")).status_code == 503
                assert (await gateway.ask()).status_code == 429
                assert "No space left on device" in log.read_text()
                assert "Nothing is served until the gateway is started again" in log.read_text()
                assert await gateway.end() == 0
            assert "No space left on device" in refusal(command)
            ballast.unlink()
            async with running(command, secret, log) as gateway:
                assert (await gateway.ask()).status_code == 200
                assert await gateway.end() == 0
            assert_books(copy_of(disk, tmp_path), answered + 1)


async def test_a_ledger_without_room_is_caught_up_with_once_there_is(tmp_path):
    """The spool has its room reserved, so requests are served while the ledger cannot grow."""
    with small_disk(tmp_path, "24m") as disk:
        async with furnished(tmp_path, disk) as secret:
            command = disk.within(
                sys.executable, "-m", "gateway", "serve", "--home", str(disk.inside)
            )
            log = tmp_path / "log"
            async with running(command, secret, log) as gateway:
                assert (await gateway.ask()).status_code == 200
                await eventually(lambda: booked(disk), lambda found: found == 1)
                ballast, answered = disk.fill(), 1
                while "the ledger is away" not in log.read_text():
                    assert (await gateway.ask()).status_code == 200
                    answered += 1
                    assert answered < 3000, "the ledger always had room"
                for _ in range(20):
                    assert (await gateway.ask()).status_code == 200
                ballast.unlink()
                await eventually(lambda: booked(disk), lambda found: found == answered + 20)
                assert await gateway.end() == 0
            assert_books(copy_of(disk, tmp_path), answered + 20)


async def test_a_read_only_disk_is_refused_with_the_reason(tmp_path):
    with small_disk(tmp_path, "24m") as disk:
        async with furnished(tmp_path, disk) as secret:
            command = disk.within(*serve_command(disk.inside))
            async with running(command, secret, tmp_path / "log") as gateway:
                assert (await gateway.ask()).status_code == 200
                assert await gateway.end() == 0
            disk.read_only(True)
            said = refusal(command)
            assert f"{disk.inside} cannot be written: it is missing, read-only" in said
            disk.read_only(False)
            async with running(command, secret, tmp_path / "log") as gateway:
                assert (await gateway.ask()).status_code == 200
                assert await gateway.end() == 0
            assert_books(copy_of(disk, tmp_path), 2)


async def turned(gateway: Running) -> None:
    """Its disk is read-only, and it noticed."""
    gateway.process.send_signal(signal.SIGUSR2)
    await eventually(lambda: gateway.log.read_text(), lambda said: "could not write" in said)


@pytest.fixture(params=["home", "server"])
def books(request, tmp_path, monkeypatch):
    """Where the ledger is, and the configuration for it."""
    if request.param == "home":
        yield tmp_path / "home" / "ledger.db", ""
        return
    url = request.getfixturevalue("postgres_url")
    redis = tmp_path / "redis"
    redis.mkdir()
    with RedisProcess(redis) as process:
        monkeypatch.setenv("TOLLGATE_TEST_REDIS_URL", process.url)
        monkeypatch.setenv("TOLLGATE_TEST_LEDGER_URL", url)
        yield url, LEDGER + REDIS


async def test_a_disk_that_turns_read_only_under_load_stops_it_and_loses_nothing(tmp_path, books):
    """With all of the home on it, or with the spool alone, whose rows are booked all the same."""
    where, more = books
    home, log = tmp_path / "home", tmp_path / "log"
    home.mkdir()
    async with FakeNode(pace=Pace(ttft_ms=2, token_ms=2)) as node:
        write_config(home, [node], more=more)
        secret = open_account_at(where, "1")
        command = [sys.executable, read_only.__file__, str(home), "serve", "--home", str(home)]
        async with running(command, secret, log) as gateway:
            load = Load([gateway.port], [("acme", secret)], CLIENTS, seed=1)
            loading = asyncio.create_task(load.run())
            await eventually(lambda: answered(load), lambda count: count > 100)
            await turned(gateway)
            began = len(load.asked)
            await eventually(lambda: len(load.asked), lambda count: count > began + 50)
            load.stopping.set()
            await loading
            late = load.asked[began + CLIENTS :]
            assert {(asked.status, asked.code) for asked in late} == {(429, "not_recording")}
            assert all(asked.retry_after_s for asked in late)
            assert (await gateway.client.get("/readyz")).status_code == 503
            assert "Read-only file system" in log.read_text()
            assert await gateway.end() == 0
        async with running(serve_command(home), secret, log) as gateway:
            assert (await load.ask("acme", secret, gateway.port)).usage is not None
            assert await gateway.end() == 0
        nodes = Nodes()
        nodes.look([node])
    with contextlib.closing(open_ledger(where)) as ledger:
        assert faults(ledger, load.asked, nodes, {"acme": parse_usd("1")}) == []


def answered(load: Load) -> int:
    return sum(1 for asked in load.asked if asked.usage is not None)


async def test_of_two_gateways_on_one_home_the_second_is_refused(tmp_path):
    async with FakeNode() as node:
        write_config(tmp_path, [node], more="")
        secret, log = open_account(tmp_path, "1"), tmp_path / "log"
        async with running(serve_command(tmp_path), secret, log) as gateway:
            assert (await gateway.ask()).status_code == 200
            said = refusal(serve_command(tmp_path))
            assert f"in use by process {gateway.process.pid}" in said
            assert "a home of its own" in said
            assert (await gateway.ask()).status_code == 200
            assert await gateway.end() == 0
        assert_books(tmp_path, 2)
        async with running(serve_command(tmp_path), secret, log) as gateway:
            assert (await gateway.ask()).status_code == 200
            assert await gateway.end() == 0
    assert_books(tmp_path, 3)

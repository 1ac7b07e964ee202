"""Books that are lost under load and restored: what came after the backup is in the spools."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
from postgres_process import PASSWORD, USER, PostgresProcess
from redis import Redis
from served import eventually

from metering.backend import open_ledger
from metering.ledger import Ledger

from .load import Load
from .rounds import settled
from .stand import ACCOUNTS, Stand, stand
from .verdict import Nodes, faults

pytestmark = pytest.mark.anyio
KEPT = "[spool]\nkept_minutes = 60\n"
CLIENTS = 8


async def tollgate(made: Stand, home: Path, *words: str) -> tuple[int, dict, str]:
    """A command on this home: its status, its JSON, what it said of errors."""
    url = {} if made.postgres is None else {"TOLLGATE_TEST_LEDGER_URL": made.postgres.url}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway", *words, "--json", "--home", str(home)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **url},
    )
    output, errors = await process.communicate()
    return process.returncode or 0, json.loads(output or b"{}"), errors.decode()


class Loaded:
    """Clients that ask while the block runs, more or less often answered."""

    def __init__(self, made: Stand) -> None:
        ports = [gateway.port for gateway in made.gateways]
        self.load = Load(ports, made.keys, CLIENTS, seed=5)

    @contextlib.asynccontextmanager
    async def running(self):
        self.load.stopping.clear()
        loading = asyncio.create_task(self.load.run())
        yield
        self.load.stopping.set()
        await loading

    async def answered(self, more: int) -> None:
        """Until so many more were answered to the end."""
        had = self._answers()
        await eventually(self._answers, lambda count: count >= had + more, within_s=30)

    def _answers(self) -> int:
        return sum(asked.usage is not None for asked in self.load.asked)

    async def exact(self, made: Stand) -> None:
        """All is booked, and every charge is what its client saw."""
        await settled(made, self.load.asked)
        nodes = Nodes()
        nodes.look(made.nodes)
        with made.ledger() as ledger:
            assert faults(ledger, self.load.asked, nodes, ACCOUNTS) == []


async def test_a_sqlite_ledger_lost_under_load_comes_back_whole(tmp_path):
    copy = tmp_path / "copy.db"
    async with stand(tmp_path / "stand", postgres=False, more=KEPT) as made:
        (gateway,) = made.gateways
        loaded = Loaded(made)
        async with loaded.running():
            await loaded.answered(40)
            status, told, errors = await tollgate(made, gateway.home, "ledger", "backup", str(copy))
            assert (status, told["verified"]["ok"]) == (0, True), errors
            await loaded.answered(40)
            await gateway.stop()  # what is booked would leave the spool now
            await made.start()
            await loaded.answered(40)
            refused = await tollgate(made, gateway.home, "ledger", "restore", str(copy))
            assert "stop it first" in refused[2]
            await gateway.kill()
        for path in gateway.home.glob("ledger.db*"):
            path.unlink()
        status, told, errors = await tollgate(made, gateway.home, "ledger", "restore", str(copy))
        assert status == 0, errors
        assert told["verified"]["ok"]
        assert sum(spool["rows"] for spool in told["spools"]) >= 80
        assert told["replaced"] is None
        await made.start()
        async with loaded.running():
            await loaded.answered(20)
        await loaded.exact(made)


async def test_postgresql_from_its_archive_and_the_rest_from_the_spools(tmp_path):
    async with stand(tmp_path / "stand", postgres=True, more=KEPT) as made:
        assert made.postgres is not None
        loaded = Loaded(made)
        archive = made.postgres.folder / "archive"
        base = made.postgres.folder / "base"
        await asyncio.to_thread(begin_archive, made.postgres, archive)
        async with loaded.running():
            await loaded.answered(20)
            await asyncio.to_thread(base_backup, made.postgres, base)
            await loaded.answered(20)
            with made.ledger() as ledger:
                archived_seq = ledger.last_seq()
            await asyncio.to_thread(archive_until_now, made.postgres)
            await loaded.answered(40)
            await made.kill_postgres("kill")
            for gateway in made.gateways:
                await gateway.kill()
        shutil.rmtree(made.postgres.folder / "data")
        recovered(base, made.postgres.folder / "data", archive)
        await asyncio.to_thread(made.postgres.start)
        await asyncio.to_thread(writable, made.postgres.url)
        made.postgres_lives = True
        with made.ledger() as ledger:
            assert archived_seq <= ledger.last_seq() <= archived_seq + 500
            assert ledger.verify().ok
        rows = 0
        for gateway in made.gateways:
            status, told, errors = await tollgate(made, gateway.home, "ledger", "restore")
            assert status == 0, errors
            rows += sum(spool["rows"] for spool in told["spools"])
        assert rows >= 20
        with Redis(port=made.redis.port) as client:
            assert client.dbsize(), "Redis still knows the books of before, under their old name"
        await made.start()
        async with loaded.running():
            await loaded.answered(20)
        await loaded.exact(made)
        assert await made.stop() == [0, 0]
        await asyncio.to_thread(dumped_and_restored, made)


def begin_archive(server: PostgresProcess, archive: Path) -> None:
    """As docs/backup.md says."""
    archive.mkdir()
    if os.geteuid() == 0:
        shutil.chown(archive, "nobody")
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("ALTER SYSTEM SET archive_mode = on")
        connection.execute(
            f"ALTER SYSTEM SET archive_command = 'test ! -f {archive}/%f && cp %p {archive}/%f'"
        )
    server.stop()
    server.start()


def run_tool(server: PostgresProcess, program: str, *words: str) -> None:
    done = subprocess.run(
        [server.programs / program, *words],
        env={**os.environ, "PGPASSWORD": PASSWORD},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def base_backup(server: PostgresProcess, base: Path) -> None:
    where = ("-h", "127.0.0.1", "-p", str(server.port), "-U", USER)
    run_tool(server, "pg_basebackup", *where, "-D", str(base), "-X", "none", "-c", "fast")


def archive_until_now(server: PostgresProcess) -> None:
    """Return once all that is booked before the call lies whole in the archive."""
    archived = "SELECT last_archived_wal >= %s FROM pg_stat_archiver"
    with psycopg.connect(server.url, autocommit=True) as connection:
        segment = connection.execute("SELECT pg_walfile_name(pg_switch_wal())").fetchone()
        while connection.execute(archived, segment).fetchone() != (True,):
            connection.execute("SELECT pg_sleep(0.05)")


def recovered(base: Path, data: Path, archive: Path) -> None:
    shutil.copytree(base, data)
    data.chmod(0o700)
    (data / "recovery.signal").touch()
    with (data / "postgresql.auto.conf").open("a") as settings:
        settings.write(f"restore_command = 'cp {archive}/%f %p'\narchive_mode = off\n")
    if os.geteuid() == 0:
        for path in (data, *data.rglob("*")):
            shutil.chown(path, "nobody")


def writable(url: str) -> None:
    """Once it has all of the archive."""
    with psycopg.connect(url, autocommit=True) as connection:
        while connection.execute("SELECT pg_is_in_recovery()").fetchone() == (True,):
            connection.execute("SELECT pg_sleep(0.05)")


def dumped_and_restored(made: Stand) -> None:
    """pg_dump of the books, into another database: the same books."""
    server = made.postgres
    assert server is not None
    dump = server.folder / "ledger.dump"
    run_tool(server, "pg_dump", "--format=custom", "-f", str(dump), "-d", server.url)
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE second")
    second = server.url.removesuffix("/postgres") + "/second"
    run_tool(server, "pg_restore", "--exit-on-error", "--no-owner", "-d", second, str(dump))
    with made.ledger() as one, contextlib.closing(open_ledger(second)) as other:
        assert other.verify().ok
        assert books(other) == books(one)


def books(ledger: Ledger) -> list:
    return [ledger.last_seq(), ledger.trial_balance(), list(ledger.charges())]

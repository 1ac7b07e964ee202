"""Integration tests run on asyncio, with the event loop that production uses."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from postgres_process import PostgresProcess
from redis_process import RedisProcess


@pytest.fixture
def anyio_backend():
    return ("asyncio", {"use_uvloop": True})


@pytest.fixture
def redis(tmp_path_factory, monkeypatch):
    """A Redis of the test's own, where `together.REDIS` looks for one."""
    with RedisProcess(tmp_path_factory.mktemp("redis")) as process:
        monkeypatch.setenv("TOLLGATE_TEST_REDIS_URL", process.url)
        yield process


@pytest.fixture
def postgres(monkeypatch):
    """A PostgreSQL of the test's own, to stop and kill, where `together.LEDGER` looks for one."""
    with (
        tempfile.TemporaryDirectory(prefix="tollgate-postgres-") as folder,
        PostgresProcess(Path(folder)) as process,
    ):
        monkeypatch.setenv("TOLLGATE_TEST_LEDGER_URL", process.url)
        yield process

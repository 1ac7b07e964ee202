"""Integration tests run on asyncio, with the event loop that production uses."""

from __future__ import annotations

import pytest
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

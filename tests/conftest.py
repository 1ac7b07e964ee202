"""What tests of several folders share."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from postgres_process import PostgresProcess


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresProcess]:
    """One for all tests that neither stop nor kill it."""
    with (
        tempfile.TemporaryDirectory(prefix="tollgate-postgres-") as folder,
        PostgresProcess(Path(folder)) as process,
    ):
        yield process


@pytest.fixture
def postgres_url(postgres_server) -> str:
    """An empty database of the test's own."""
    return postgres_server.fresh()


@pytest.fixture(params=["sqlite", "postgres"])
def where(request, tmp_path) -> Path | str:
    """An empty place for a ledger, of every kind there is: what `metering.backend` opens."""
    if request.param == "sqlite":
        return tmp_path / "ledger.db"
    return request.getfixturevalue("postgres_url")

"""What tests of several folders share."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from postgres_process import PostgresProcess
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from metering.backend import open_database
from metering.database import Database

DAY_S = 86_400
TEST_S = 60
"""No test that counts by the day takes longer."""
ENGINES = ("tests/e2e/", "tests/pools/", "tests/resume/")
"""What starts Ray or engines, and looks at the whole machine for what they leave."""


class EnginesInOne(LoadScopeScheduling):
    """Of the processes that run tests one runs all that starts engines; files go to any."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return "engines" if file.startswith(ENGINES) else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> EnginesInOne:
    return EnginesInOne(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest comes first, so that all processes end at about the same time."""
    items.sort(key=lambda item: not item.nodeid.startswith(ENGINES))


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


@pytest.fixture
def same_day() -> None:
    """For who counts what was used of a day or a month: in UTC none ends in the next minute.

    In the last one of a day it waits for the next, whose coming is sure.
    """
    while time.time() % DAY_S > DAY_S - TEST_S:
        time.sleep(0.05)


@pytest.fixture(params=["sqlite", "postgres"])
def where(request, tmp_path) -> Path | str:
    """An empty place for a ledger, of every kind there is: what `metering.backend` opens."""
    if request.param == "sqlite":
        return tmp_path / "ledger.db"
    return request.getfixturevalue("postgres_url")


@pytest.fixture
def database(where) -> Iterator[Database]:
    """The same place, opened."""
    with contextlib.closing(open_database(where)) as opened:
        yield opened

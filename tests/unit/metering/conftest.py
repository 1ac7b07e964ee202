"""Every ledger there is, for the tests that all of them must pass."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from metering.backend import open_ledger
from metering.ledger import Ledger
from metering.reference_ledger import ReferenceLedger


class Clock:
    now_ns = 0


@pytest.fixture
def clock() -> Clock:
    """The wall clock of the ledger."""
    return Clock()


@pytest.fixture(params=["reference", "sqlite", "postgres"])
def ledger(request, tmp_path, clock) -> Iterator[Ledger]:
    made: Ledger
    if request.param == "reference":
        made = ReferenceLedger(lambda: clock.now_ns)
    elif request.param == "sqlite":
        made = open_ledger(tmp_path / "ledger.db", lambda: clock.now_ns)
    else:
        made = open_ledger(request.getfixturevalue("postgres_url"), lambda: clock.now_ns)
    yield made
    made.close()

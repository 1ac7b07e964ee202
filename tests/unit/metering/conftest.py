"""Every ledger there is, for the tests that all of them must pass."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from metering.ledger import Ledger
from metering.reference_ledger import ReferenceLedger
from metering.sqlite_ledger import SqliteLedger


class Clock:
    now_ns = 0


@pytest.fixture
def clock() -> Clock:
    """The wall clock of the ledger."""
    return Clock()


@pytest.fixture(params=["reference", "sqlite"])
def ledger(request, tmp_path, clock) -> Iterator[Ledger]:
    made: Ledger
    if request.param == "reference":
        made = ReferenceLedger(lambda: clock.now_ns)
    else:
        made = SqliteLedger(tmp_path / "l.db", lambda: clock.now_ns)
    yield made
    made.close()

"""Every ledger there is, for the tests that all of them must pass."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from metering.ledger import Ledger, ReferenceLedger
from metering.sqlite_ledger import SqliteLedger


@pytest.fixture(params=["reference", "sqlite"])
def ledger(request, tmp_path) -> Iterator[Ledger]:
    made: Ledger
    made = ReferenceLedger() if request.param == "reference" else SqliteLedger(tmp_path / "l.db")
    yield made
    made.close()

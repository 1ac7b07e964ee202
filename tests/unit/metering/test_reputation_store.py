"""One row a node, of all gateways: nobody overwrites what another wrote."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from metering.backend import open_database, open_ledger
from metering.reputation_store import Remembered, ReputationStore

ROW = Remembered(node_id="n", supplier_id="s", memory={"served": 3.5, "stalled": 1.0}, as_of_ns=9)


@pytest.fixture(params=["sqlite", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ReputationStore]:
    postgres = request.param == "postgres"
    where = request.getfixturevalue("postgres_url") if postgres else tmp_path / "ledger.db"
    open_ledger(where).close()  # makes the tables
    with contextlib.closing(open_database(where)) as made:
        yield ReputationStore(made)


def changed(row: Remembered, **fields: object) -> Remembered:
    return msgspec.structs.replace(row, **fields)


def test_what_is_written_is_read(store: ReputationStore) -> None:
    assert store.put(ROW)
    assert store.since(0) == [changed(ROW, version=1)]
    assert store.put(changed(ROW, version=1, memory={}, as_of_ns=12))
    assert store.since(10) == [changed(ROW, version=2, memory={}, as_of_ns=12)]
    assert store.since(13) == []


def test_who_has_not_read_the_last_version_writes_nothing(store: ReputationStore) -> None:
    assert store.put(ROW)
    assert not store.put(changed(ROW, memory={"served": 99.0}))
    assert store.put(changed(ROW, version=1))
    assert not store.put(changed(ROW, version=1, memory={"served": 99.0}))
    assert [row.memory for row in store.since(0)] == [ROW.memory]


def test_what_is_old_is_forgotten(store: ReputationStore) -> None:
    store.put(ROW)
    store.put(changed(ROW, node_id="m", as_of_ns=20))
    store.forget(20)
    assert [row.node_id for row in store.since(0)] == ["m"]

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from metering.backend import open_database, open_ledger
from metering.database import Database
from metering.gpu_time_store import GpuTime, GpuTimeStore
from metering.lease import Lease, LeaseLostError

LEASE = "attendance"


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    postgres = request.param == "postgres"
    where = request.getfixturevalue("postgres_url") if postgres else tmp_path / "ledger.db"
    open_ledger(where).close()  # makes the tables
    with contextlib.closing(open_database(where)) as made:
        assert lease_of(made, "gw").stand()
        yield made


@pytest.fixture
def store(database: Database) -> GpuTimeStore:
    return GpuTimeStore(database)


def lease_of(database: Database, holder: str) -> Lease:
    return Lease(database, LEASE, holder, lease_s=60, monotonic_ns=lambda: 0, wall_ns=lambda: 0)


def time_of(supplier: str, gpu_s: int, gpu_class: str = "L4") -> GpuTime:
    return GpuTime(supplier_id=supplier, gpu_class=gpu_class, gpu_s=gpu_s)


def test_time_adds_up_by_supplier_and_class(store: GpuTimeStore) -> None:
    store.add(
        "gw", 1, [time_of("b", 5), time_of("a", 7), time_of("a", 2, "H100-PCIe")], lease=LEASE
    )
    store.add("gw", 2, [time_of("a", 3)], lease=LEASE)
    assert store.over(0) == (time_of("a", 2, "H100-PCIe"), time_of("a", 10), time_of("b", 5))


def test_a_batch_that_is_written_again_counts_once(store: GpuTimeStore) -> None:
    assert store.next_batch("gw") == 1
    assert store.add("gw", 1, [time_of("a", 3)], lease=LEASE)
    assert not store.add("gw", 1, [time_of("a", 3)], lease=LEASE)
    assert store.over(0) == (time_of("a", 3),)
    assert store.next_batch("gw") == 2


def test_who_lost_the_lease_adds_nothing(store: GpuTimeStore, database: Database) -> None:
    lease_of(database, "gw").leave()
    assert lease_of(database, "other").stand()
    with pytest.raises(LeaseLostError):
        store.add("gw", 1, [time_of("a", 3)], lease=LEASE)
    assert store.over(0) == ()
    assert store.next_batch("gw") == 1


def test_what_comes_after_a_period_ended_is_in_the_next(store: GpuTimeStore) -> None:
    assert store.end_period() == 0
    store.add("gw", 1, [time_of("a", 3)], lease=LEASE)
    assert store.end_period() == 1
    assert store.end_period() == 1
    store.add("gw", 2, [time_of("a", 4)], lease=LEASE)
    assert store.over(0, 1) == (time_of("a", 3),)
    assert store.over(1) == (time_of("a", 4),)
    assert store.end_period() == 2
    assert store.over(0, 2) == (time_of("a", 7),)

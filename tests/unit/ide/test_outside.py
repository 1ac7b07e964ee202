"""Verified GPU time in epochs: paid once, whenever it was verified, and replayed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from ide.canonical import canonical_json
from ide.params import IdeParams
from ide.proof import check_proof
from ide.proving import prove
from ide.replay import replay
from ide.settlement import SettlementStatus, open_supply, settle, stored_result
from metering import accounts
from metering.accounts import Asset
from metering.backend import open_database, open_ledger
from metering.database import Database
from metering.gpu_time_store import GpuTime, GpuTimeStore
from metering.lease import Lease
from metering.ledger import Ledger
from metering.money import USD_UNIT

PARAMS = IdeParams()
CENTS_16 = 160_000_000
HOUR_S = 3_600
A_GPU_HOUR = 3 * USD_UNIT // 10
"""Of an H100-PCIe, multiplier 10, at 0.03 USD."""


class Network:
    def __init__(self, where: Path | str) -> None:
        self.ledger: Ledger = open_ledger(where)
        self.database: Database = open_database(where)
        self.store = GpuTimeStore(self.database)
        lease = Lease(
            self.database, "l", "gw", lease_s=60, monotonic_ns=lambda: 0, wall_ns=lambda: 0
        )
        assert lease.stand()
        open_supply(self.ledger, PARAMS)

    def verified(self, supplier: str, gpu_s: int, gpu_class: str = "H100-PCIe") -> None:
        row = GpuTime(supplier_id=supplier, gpu_class=gpu_class, gpu_s=gpu_s)
        assert self.store.add("gw", self.store.next_batch("gw"), [row], lease="l")

    def settle(self, **more):
        return settle(
            self.ledger,
            PARAMS,
            io_price_nano_usd=CENTS_16,
            now_ns=7,
            database=self.database,
            **more,
        )

    def close(self) -> None:
        self.ledger.close()
        self.database.close()


@pytest.fixture(params=["sqlite", "postgres"])
def network(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Network]:
    postgres = request.param == "postgres"
    where = request.getfixturevalue("postgres_url") if postgres else tmp_path / "ledger.db"
    with contextlib.closing(Network(where)) as made:
        yield made


def payouts_of(settled) -> dict[str, int]:
    report = stored_result(settled.row).report
    return {row.supplier_id: row.stipend_nano_usd for row in report.payouts}


def test_an_epoch_pays_for_time_without_any_charge_and_once(network: Network) -> None:
    network.verified("alice", 8 * HOUR_S)
    network.verified("bob", HOUR_S, "no-such-class")
    settled = network.settle()
    assert settled.status is SettlementStatus.SETTLED
    assert payouts_of(settled) == {"alice": 8 * A_GPU_HOUR, "bob": 0}
    paid = network.ledger.balance(accounts.supplier(Asset.IO, "alice")).posted
    assert paid == 15 * 10**8, "2.40 USD at 0.16"
    assert network.settle().status is SettlementStatus.NOTHING_NEW
    network.verified("alice", HOUR_S)
    assert payouts_of(network.settle()) == {"alice": A_GPU_HOUR}
    assert replay(network.ledger, network.database).ok
    assert network.ledger.verify().ok


def test_what_is_verified_while_an_epoch_is_booked_is_in_the_next(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    network.verified("alice", HOUR_S)
    end_period = GpuTimeStore.end_period

    def late(store: GpuTimeStore) -> int:
        period = end_period(store)
        network.verified("alice", 5 * HOUR_S)
        return period

    with monkeypatch.context() as patched:
        patched.setattr(GpuTimeStore, "end_period", late)
        assert payouts_of(network.settle()) == {"alice": A_GPU_HOUR}
    assert payouts_of(network.settle()) == {"alice": 5 * A_GPU_HOUR}
    assert replay(network.ledger, network.database).ok


def test_an_epoch_that_is_not_booked_leaves_the_time_to_the_next(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    network.verified("alice", HOUR_S)
    with monkeypatch.context() as patched:
        patched.setattr("ide.settlement.seal", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            network.settle()
    network.verified("alice", HOUR_S)
    assert payouts_of(network.settle()) == {"alice": 2 * A_GPU_HOUR}
    assert replay(network.ledger, network.database).ok


def test_time_that_was_changed_afterwards_does_not_replay(network: Network) -> None:
    network.verified("alice", HOUR_S)
    network.settle()
    network.database.query("UPDATE gpu_time SET gpu_s = gpu_s + 1")
    found = replay(network.ledger, network.database)
    assert (found.ok, found.first_bad_epoch) == (False, 1)
    assert found.problem == "the GPU time stored is not that of the periods 1 to 1"


def test_a_supplier_proves_what_its_time_earned(network: Network) -> None:
    network.verified("alice", HOUR_S)
    row = network.settle().row
    proof = prove(network.ledger, row, "alice", with_charges=True)
    assert check_proof(msgspec.json.encode(proof)).payout.stipend_nano_usd == A_GPU_HOUR


def test_an_epoch_without_a_slash_says_nothing_of_slashes(network: Network) -> None:
    """So the reports of epochs that an earlier version closed are worked out to the same bytes."""
    row = network.settle(even_if_empty=True).row
    assert "slashed" not in row.result
    assert canonical_json(stored_result(row).report) == row.result

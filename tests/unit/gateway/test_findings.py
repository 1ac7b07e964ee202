"""Where findings go when the ledger is away, or when there are too many."""

from __future__ import annotations

import random

import msgspec
import pytest

from gateway.honesty.findings import UNWRITTEN_MAX, WRITTEN_PER_HOUR_MAX, Findings
from metering.finding import Finding, FindingKind
from metering.finding_store import FindingStore
from metering.ledger import LedgerError
from metering.sqlite_database import SqliteDatabase
from router.policy import Policy
from router.registry import Registry
from router.router import Router
from router.types import NodeRecord

HOUR_NS = 3_600_000_000_000
FINDING = Finding(
    finding_id="f",
    kind=FindingKind.COMPLETION_COUNT,
    node_id="n",
    supplier_id="s",
    model="m",
    request_id="r",
    expected=1,
    claimed=2,
    evidence={},
    found_ns=HOUR_NS,
)


class Away(FindingStore):
    """A store whose database can be taken away."""

    away = False

    def add(self, findings):
        if self.away:
            raise LedgerError("away")
        super().add(findings)


class Bench:
    def __init__(self, tmp_path) -> None:
        self.database = SqliteDatabase(tmp_path / "ledger.db")
        self.store = Away(self.database)
        registry = Registry()
        registry.update(
            "test",
            [NodeRecord(node_id="n", supplier_id="s", url="http://h", model="m", capacity=4)],
        )
        self.router = Router(registry, Policy(), random.Random(1))
        self.router.nodes(0)
        self.counted: list[tuple[str, str]] = []
        self.findings = Findings(self.store, self.router, lambda *seen: self.counted.append(seen))

    def take(self, number: int, **changes) -> None:
        self.findings.take(msgspec.structs.replace(FINDING, finding_id=f"f{number}", **changes))

    def written(self) -> int:
        return len(self.store.newest(limit=10_000))


@pytest.fixture
def bench(tmp_path):
    made = Bench(tmp_path)
    yield made
    made.database.close()


def test_a_finding_reaches_metrics_router_and_ledger(bench):
    bench.take(1)
    assert bench.counted == [("n", "completion_count")]
    (view,) = bench.router.nodes(0)
    assert view.standing < 1.0
    bench.findings.write_now()
    assert bench.written() == 1
    bench.findings.write_now()
    assert bench.written() == 1


def test_while_the_ledger_is_away_findings_wait(bench):
    bench.store.away = True
    bench.take(1)
    bench.findings.write_now()
    bench.take(2)
    bench.store.away = False
    bench.findings.write_now()
    assert bench.written() == 2


def test_one_node_fills_no_disk(bench):
    for number in range(WRITTEN_PER_HOUR_MAX + 50):
        bench.take(number)
    bench.findings.write_now()
    assert bench.written() == WRITTEN_PER_HOUR_MAX
    assert len(bench.counted) == WRITTEN_PER_HOUR_MAX + 50
    bench.take(1_000, found_ns=2 * HOUR_NS)
    bench.take(1_001, node_id="another")
    bench.findings.write_now()
    assert bench.written() == WRITTEN_PER_HOUR_MAX + 2


def test_what_waits_is_bounded(bench):
    bench.store.away = True
    for number in range(UNWRITTEN_MAX + 50):
        bench.take(number, node_id=f"n{number}")
    bench.store.away = False
    bench.findings.write_now()
    assert bench.written() == UNWRITTEN_MAX

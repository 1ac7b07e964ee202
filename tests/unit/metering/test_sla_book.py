"""SLAs against the ledger: judged once, credited once, told in the statement."""

from __future__ import annotations

import contextlib
import threading

import msgspec
import pytest
from books import closed, opened, used

from metering.accounts import USD_SLA, customer
from metering.backend import open_database, open_ledger
from metering.charge import ChargeOutcome
from metering.month import Month
from metering.posting import close_group, deposit_group, hold_group
from metering.sla import Objective, SlaPeriod
from metering.sla_book import SlaBook
from metering.statement import EntryKind
from metering.statement_book import StatementBook

OCTOBER, NOVEMBER = Month(2026, 10), Month(2026, 11)
HOUR_NS = 3_600_000_000_000
ALICE = customer("alice")
COST = 10 * 200 + 100 * 600
OBJECTIVE = Objective(
    name="gold",
    account=None,
    model="tiny",
    period=SlaPeriod.MONTH,
    since_ns=OCTOBER.start_ns,
    availability_ppm=999_000,
    ttft_p95_ms=None,
    credit_ppm=100_000,
    requests_min=5,
)


class World:
    def __init__(self, where):
        self.now_ns = OCTOBER.start_ns + HOUR_NS
        self.ledger = open_ledger(where, lambda: self.now_ns)
        self.database = open_database(where)
        self.sla = self.book()
        self.count = 0

    def book(self):
        return SlaBook(self.ledger, self.database, "sla", grace_ns=HOUR_NS)

    def serve(self, count, outcome=None):
        for _ in range(count):
            self.count += 1
            opening = opened(f"c{self.count}")
            closing = closed(opening.charge_id, None if outcome else used(100))
            closing = msgspec.structs.replace(
                closing, closed_ns=self.now_ns, outcome=outcome or ChargeOutcome.COMPLETED
            )
            self.ledger.post("g", [hold_group(opening), close_group(opening, closing)])

    def close(self):
        self.database.close()
        self.ledger.close()


@pytest.fixture
def world(where):
    with contextlib.closing(World(where)) as made:
        made.ledger.post("t", [deposit_group("d", "alice", 10**9)])
        yield made


def test_a_missed_month_is_credited_once_and_stated(world):
    world.serve(9)
    world.serve(1, ChargeOutcome.NODE_ERROR)
    assert world.sla.run(OBJECTIVE, OCTOBER.end_ns) == []  # its grace is not over
    world.now_ns = OCTOBER.end_ns + HOUR_NS
    (verdict,) = world.sla.run(OBJECTIVE, world.now_ns)
    assert (verdict.requests, verdict.failed) == (10, 1)
    assert verdict.credit_nano_usd == 9 * COST // 10
    assert world.sla.run(OBJECTIVE, world.now_ns) == []
    assert world.ledger.balance(USD_SLA).posted == -verdict.credit_nano_usd
    assert world.sla.verdicts(limit=9) == [verdict]
    found = StatementBook(world.database).statement("alice", NOVEMBER, world.now_ns)
    (entry,) = found.entries
    assert (entry.kind, entry.nano_usd) == (EntryKind.CREDIT, verdict.credit_nano_usd)
    assert "'gold' in 2026-10" in entry.text
    assert world.ledger.verify().ok


def test_a_month_that_was_kept_is_judged_too(world):
    world.serve(10)
    world.now_ns = OCTOBER.end_ns + HOUR_NS
    (verdict,) = world.sla.run(OBJECTIVE, world.now_ns)
    assert not verdict.missed
    assert world.ledger.balance(USD_SLA).posted == 0
    assert world.sla.verdicts(account="alice", limit=9) == [verdict]
    assert world.sla.verdicts(account="bob", limit=9) == []


def test_many_gateways_at_once_credit_once(world):
    world.serve(9)
    world.serve(3, ChargeOutcome.NODE_BROKEN)
    world.now_ns = OCTOBER.end_ns + HOUR_NS
    books = [world.book() for _ in range(6)]
    threads = [threading.Thread(target=book.run, args=(OBJECTIVE, world.now_ns)) for book in books]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (verdict,) = world.sla.verdicts(limit=9)
    assert world.ledger.balance(USD_SLA).posted == -verdict.credit_nano_usd
    assert verdict.credit_nano_usd == 9 * COST // 10


def test_a_crash_between_credit_and_verdict_changes_neither(world):
    world.serve(9)
    world.serve(1, ChargeOutcome.EMPTY)
    world.now_ns = OCTOBER.end_ns + HOUR_NS
    (verdict,) = world.sla.run(OBJECTIVE, world.now_ns)
    world.database.query("DELETE FROM sla_verdict")
    world.now_ns = OCTOBER.end_ns - 1  # what comes late would make it another verdict
    world.serve(20)
    world.now_ns = OCTOBER.end_ns + 2 * HOUR_NS
    assert world.sla.run(OBJECTIVE, world.now_ns) == [verdict]
    assert world.ledger.balance(USD_SLA).posted == -verdict.credit_nano_usd


def test_months_without_a_charge_are_judged_and_done(world):
    world.now_ns = OCTOBER.end_ns + HOUR_NS
    assert world.sla.run(OBJECTIVE, world.now_ns) == []
    world.now_ns = OCTOBER.start_ns + HOUR_NS
    world.serve(9, ChargeOutcome.EMPTY)
    world.now_ns = OCTOBER.end_ns + HOUR_NS
    assert world.sla.run(OBJECTIVE, world.now_ns) == []

"""Spool to ledger: every row once, whatever happens to either."""

from __future__ import annotations

import threading
import time

import pytest
from books import closed, deposit, opened, progressed, single, used

from metering import poster as poster_module
from metering import spool_log
from metering.budget import Budget
from metering.ledger import LedgerError, PostResult
from metering.poster import Poster
from metering.spool import Spool
from metering.spool_file import SpoolError
from metering.sqlite_ledger import SqliteLedger

DEADLINE_S = 10


class Gateway:
    """Spool, poster, ledger and budget of one gateway; calls to the event loop run at once."""

    def __init__(self, folder, **bounds):
        self.ledger = SqliteLedger(folder / "ledger.db")
        self.spool = Spool(folder / "spool", **bounds)
        self.budget = Budget()
        self.changes = []
        self.told = []
        self.poster = Poster(self.spool, self.ledger, self.hear, lambda: self.changes.append(1))
        self.lock = threading.Lock()

    def notify(self, call):
        with self.lock:
            call()

    def hear(self, updates):
        self.told += updates
        self.budget.update(updates)

    def start(self):
        self.spool.start(self.notify)
        self.poster.start()

    def write(self, *rows):
        """Append rows and wait until they are durable."""
        durable = threading.Event()
        for row in rows[:-1]:
            self.spool.append(row)
        self.spool.append(rows[-1], lambda error: durable.set())
        assert durable.wait(DEADLINE_S)

    def stop(self):
        self.poster.stop()
        self.spool.close()
        self.ledger.close()


@pytest.fixture
def gateway(tmp_path):
    made = Gateway(tmp_path)
    made.ledger.post("cli", [deposit("alice", 10**9)])
    yield made
    made.stop()


def eventually(holds):
    deadline = time.monotonic() + DEADLINE_S
    while not holds():
        assert time.monotonic() < deadline, "it did not come about in time"
        threading.Event().wait(0.005)


def test_rows_become_charges(gateway):
    gateway.start()
    gateway.write(opened("c1"), progressed("c1", 2), closed("c1", used(5)))
    gateway.write(opened("c2"))
    assert gateway.poster.drain(DEADLINE_S)
    (record,) = gateway.ledger.charges()
    assert record.charged_nano_usd == 5000
    assert gateway.ledger.balance("usd:customer:alice").debits_pending == opened("c2").hold_nano_usd
    assert gateway.ledger.watermark(gateway.spool.writer) == 4
    assert gateway.poster.lag_rows == 0
    assert gateway.poster.lag_seconds == 0
    assert gateway.ledger.verify().ok


def test_rows_do_not_gather_until_the_spool_is_full(tmp_path, monkeypatch):
    monkeypatch.setattr(poster_module, "GATHER_S", 3600)
    made = Gateway(tmp_path, rows_max=8)
    made.ledger.post("cli", [deposit("alice", 10**9)])
    made.start()
    made.write(opened("c1"), opened("c2"), closed("c1", used(5)))
    eventually(lambda: made.poster.lag_rows == 0)
    made.stop()


def test_a_charge_that_ends_before_its_hold_is_booked_is_one_transfer(gateway):
    gateway.spool.commit([opened("long")])
    gateway.start()
    assert gateway.poster.drain(DEADLINE_S)
    gateway.write(opened("short"), opened("free"), closed("short", used(5)), closed("free"))
    gateway.write(closed("long", used(5)))
    assert gateway.poster.drain(DEADLINE_S)
    assert gateway.ledger.last_seq() == 1 + 2 + 1 + 1
    paid = {record.charge_id: record.charged_nano_usd for record in gateway.ledger.charges()}
    assert paid == {"short": 5000, "free": 0, "long": 5000}
    assert gateway.ledger.balance("usd:customer:alice").available == 10**9 - 10_000
    assert gateway.ledger.verify().ok


def test_of_a_backlog_each_charge_that_has_ended_is_one_transfer(gateway):
    names = [f"c{i}" for i in range(poster_module.GATHER_ROWS + 1)]
    gateway.spool.commit([opened(name) for name in names])
    gateway.spool.commit([closed(name, used(5)) for name in names])
    gateway.start()
    assert gateway.poster.drain(DEADLINE_S)
    assert gateway.ledger.last_seq() == 1 + len(names)
    assert gateway.ledger.balance("usd:fee_vault").posted == 5000 * len(names)
    assert gateway.ledger.verify().ok


def test_a_backlog_is_booked_in_transactions_of_so_many_rows(gateway, monkeypatch):
    monkeypatch.setattr(poster_module, "BATCH_ROWS", 4)
    batches = []
    post = gateway.ledger.post

    def counted(writer, groups, watermark):
        batches.append(len(groups))
        return post(writer, groups, watermark)

    monkeypatch.setattr(gateway.ledger, "post", counted)
    for name in ("c1", "c2", "c3"):
        gateway.spool.commit([opened(name), closed(name, used(5))])
    gateway.start()
    assert gateway.poster.drain(DEADLINE_S)
    assert batches == [2, 1]


def test_only_the_first_close_counts(gateway):
    gateway.start()
    gateway.write(opened("c"), closed("c"), closed("c", used(5)), opened("c"))
    assert gateway.poster.drain(DEADLINE_S)
    (record,) = gateway.ledger.charges()
    assert record.cost_nano_usd == 0


def test_the_budget_follows_the_ledger_and_ends_equal_to_it(gateway):
    gateway.start()
    assert not gateway.budget.known("alice")
    gateway.poster.refresh("alice").result(DEADLINE_S)
    assert gateway.budget.available("alice") == 10**9
    for i in range(20):
        charge = opened(f"c{i}")
        with gateway.lock:
            assert gateway.budget.reserve("alice", charge.hold_nano_usd)
        gateway.write(charge)
        with gateway.lock:
            gateway.budget.settle("alice", charge.hold_nano_usd, 5000)
            assert gateway.budget.available("alice") == 10**9 - 5000 * (i + 1)
        gateway.write(closed(charge.charge_id, used(5)))
    assert gateway.poster.drain(DEADLINE_S)
    gateway.poster.refresh("alice").result(DEADLINE_S)
    assert gateway.budget.available("alice") == 10**9 - 20 * 5000
    assert gateway.ledger.balance("usd:customer:alice").available == 10**9 - 20 * 5000


def test_a_deposit_by_another_process_is_seen(gateway, tmp_path, monkeypatch):
    monkeypatch.setattr(poster_module, "POLL_INTERVAL_S", 0.01)
    gateway.start()
    gateway.poster.refresh("alice").result(DEADLINE_S)
    eventually(lambda: gateway.poster._polled_at > 0)
    cli = SqliteLedger(tmp_path / "ledger.db")
    cli.post("cli", [deposit("alice", 7, name="more")])
    cli.close()
    eventually(lambda: gateway.budget.available("alice") == 10**9 + 7)
    assert gateway.changes


def test_an_account_without_money_is_known_to_have_none(gateway):
    gateway.start()
    gateway.poster.refresh("bob").result(DEADLINE_S)
    assert gateway.budget.known("bob")
    assert not gateway.budget.reserve("bob", 1)


def test_questions_are_answered_under_steady_traffic(gateway):
    gateway.start()
    stop = threading.Event()

    def traffic():
        for i in range(10_000):
            if stop.wait(0.001):
                return
            gateway.spool.append(opened(f"t{i}", account="busy", hold=0))

    thread = threading.Thread(target=traffic)
    thread.start()
    try:
        gateway.poster.refresh("alice").result(DEADLINE_S)
    finally:
        stop.set()
        thread.join()
    assert gateway.budget.available("alice") == 10**9


def test_what_a_dead_gateway_left_is_booked_before_any_balance_is_told(tmp_path):
    dead = Gateway(tmp_path)
    dead.ledger.post("cli", [deposit("alice", 10**6 + 5000)])
    dead.spool.commit([opened("c1"), closed("c1", used(5)), opened("c2"), progressed("c2", 5)])
    dead.spool.close()
    dead.ledger.close()
    gateway = Gateway(tmp_path)
    assert gateway.spool.recover(now_ns=1) == 1
    gateway.start()
    gateway.poster.refresh("alice").result(DEADLINE_S)
    assert gateway.budget.available("alice") == 10**6 - 5000
    gateway.stop()


class Away(SqliteLedger):
    """A ledger that can be unreachable, before or after it did what was asked."""

    away = False
    forgets_to_answer = False

    def post(self, writer, groups, watermark=None):
        if self.away:
            raise LedgerError("connection refused")
        results = super().post(writer, groups, watermark)
        if self.forgets_to_answer:
            self.forgets_to_answer = False
            raise LedgerError("connection reset")
        return results

    def balances(self, accounts):
        if self.away:
            raise LedgerError("connection refused")
        return super().balances(accounts)


@pytest.fixture
def flaky(tmp_path, monkeypatch):
    monkeypatch.setattr(poster_module, "BACKOFF_MAX_S", 0.02)
    made = Gateway(tmp_path)
    made.ledger.close()
    made.ledger = made.poster._ledger = Away(tmp_path / "ledger.db")
    made.ledger.post("cli", [deposit("alice", 10**9)])
    yield made
    made.stop()


def test_what_charges_cost_and_leave_of_their_holds_is_told_once(flaky):
    flaky.ledger.forgets_to_answer = True
    flaky.start()
    flaky.write(opened("c1", hold=9000), closed("c1", used(5)))
    flaky.write(opened("c2", hold=7000))
    assert flaky.poster.drain(DEADLINE_S)
    flaky.write(closed("c2"))
    eventually(lambda: sum(told.booked_nano_usd for told in flaky.told) == -5000)
    assert sum(told.paid_nano_usd for told in flaky.told) == 5000
    assert sum(told.released_nano_usd for told in flaky.told) == 4000 + 7000


def test_a_ledger_that_was_away_gets_everything_when_it_is_back(flaky):
    flaky.start()
    flaky.poster.refresh("alice").result(DEADLINE_S)
    flaky.write(opened("before"))
    assert flaky.poster.drain(DEADLINE_S)
    flaky.ledger.away = True
    flaky.write(closed("before", used(5)))
    for i in range(5):
        flaky.write(opened(f"c{i}"), closed(f"c{i}", used(5)))
    flaky.write(opened("after"))
    assert not flaky.poster.drain(0.1)
    assert flaky.poster.lag_rows == 12
    with pytest.raises(LedgerError, match="refused"):
        flaky.poster.refresh("alice").result(DEADLINE_S)
    flaky.ledger.away = False
    flaky.write(closed("after", used(5)))
    assert flaky.poster.drain(DEADLINE_S)
    ids = [record.charge_id for record in flaky.ledger.charges()]
    assert ids == ["before", *(f"c{i}" for i in range(5)), "after"]
    flaky.poster.refresh("alice").result(DEADLINE_S)
    assert flaky.budget.available("alice") == 10**9  # holds of this test were never reserved
    assert flaky.ledger.verify().ok


def test_no_balance_is_told_between_batches_of_what_a_dead_gateway_left(flaky, monkeypatch):
    monkeypatch.setattr(poster_module, "BATCH_ROWS", 2)
    for name in ("c1", "c2"):
        flaky.spool.commit([opened(name), closed(name, used(5))])
    flaky.ledger.away = True
    flaky.start()
    with pytest.raises(LedgerError, match="refused"):
        flaky.poster.refresh("alice").result(DEADLINE_S)
    flaky.ledger.away = False
    flaky.poster.refresh("alice").result(DEADLINE_S)
    assert {told.available_nano_usd for told in flaky.told} == {10**9 - 10_000}


def test_an_answer_that_got_lost_does_not_book_twice(flaky):
    flaky.start()
    flaky.poster.refresh("alice").result(DEADLINE_S)
    flaky.ledger.forgets_to_answer = True
    flaky.write(opened("c"), closed("c", used(5)))
    assert flaky.poster.drain(DEADLINE_S)
    assert flaky.ledger.balance("usd:fee_vault").posted == 5000
    assert len(list(flaky.ledger.charges())) == 1
    assert flaky.ledger.verify().ok


def test_a_row_that_the_books_contradict_stops_the_poster_and_is_kept(gateway):
    gateway.ledger.post("evil", [single("c:hold", "usd:external", "usd:customer:alice", 1)])
    gateway.start()
    gateway.write(opened("c"))
    assert not gateway.poster.drain(DEADLINE_S)
    assert "c:hold" in str(gateway.poster.failed)
    assert PostResult.EXISTS_WITH_DIFFERENT_KIND in str(gateway.poster.failed)
    assert gateway.ledger.watermark(gateway.spool.writer) == 0
    with pytest.raises(LedgerError, match="no more charges"):
        gateway.poster.refresh("alice").result(DEADLINE_S)
    assert gateway.spool.backlog == 1


def test_a_spool_is_emptied_once_the_ledger_has_it(gateway, monkeypatch):
    monkeypatch.setattr(poster_module, "FORGET_ROWS", 2)
    monkeypatch.setattr(spool_log, "SEGMENT_BYTES", 1000)
    gateway.start()
    gateway.write(opened("open"))
    for i in range(10):
        gateway.write(opened(f"c{i}"), progressed(f"c{i}", 1), closed(f"c{i}", used(5)))
        assert gateway.poster.drain(DEADLINE_S)
    assert gateway.spool.last_seq == 31
    with pytest.raises(SpoolError, match=r"holds rows (1\d|2\d|30) to 31"):
        gateway.spool.open_charges(0)


def test_a_restart_goes_on_where_the_books_are(tmp_path):
    for i in range(3):
        gateway = Gateway(tmp_path)
        gateway.ledger.post("cli", [deposit("alice", 10**9)])
        gateway.start()
        gateway.write(opened(f"c{i}"))
        if i:
            gateway.write(closed(f"c{i - 1}", used(5)))
        assert gateway.poster.drain(DEADLINE_S)
        gateway.stop()
    ledger = SqliteLedger(tmp_path / "ledger.db")
    assert [record.charge_id for record in ledger.charges()] == ["c0", "c1"]
    assert ledger.verify().ok
    ledger.close()


def test_a_ledger_restored_from_an_old_copy_is_refused(tmp_path):
    gateway = Gateway(tmp_path)
    gateway.start()
    gateway.write(opened("c"), closed("c"))
    assert gateway.poster.drain(DEADLINE_S)
    gateway.stop()
    for file in tmp_path.glob("ledger.db*"):
        file.unlink()
    again = Gateway(tmp_path)
    with pytest.raises(SpoolError, match="one of the two is an old copy"):
        again.poster.start()
    again.stop()


def test_questions_after_the_end_are_refused_not_left_hanging(gateway):
    gateway.start()
    gateway.poster.stop()
    with pytest.raises(LedgerError, match="shutting down"):
        gateway.poster.refresh("alice").result(DEADLINE_S)


def test_a_question_that_nobody_waits_for_any_more_is_passed_over(gateway):
    asked = gateway.poster.refresh("alice")
    assert asked.cancel()
    gateway.start()
    gateway.poster.refresh("bob").result(DEADLINE_S)
    assert not gateway.budget.known("alice")

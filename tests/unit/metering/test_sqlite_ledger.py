"""What only a file can do: be shared, be damaged, outlive its process."""

from __future__ import annotations

import sqlite3
import threading

import pytest
from books import closed, deposit, opened, single, used

from metering.ledger import LedgerError, PostResult
from metering.posting import close_group, hold_group
from metering.sqlite_ledger import SqliteLedger


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ledger.db"


def test_the_books_outlive_their_process(path):
    ledger = SqliteLedger(path, clock_ns=lambda: 5)
    opening = opened("c")
    ledger.post("g", [deposit("alice", 10**9), hold_group(opening)], watermark=2)
    ledger.close()
    again = SqliteLedger(path)
    assert again.watermark("g") == 2
    assert again.post("g", [close_group(opening, closed("c", used(1)))]) == [PostResult.OK]
    assert again.balance("usd:customer:alice").debits_pending == 0
    assert again.verify().ok
    again.close()


def test_two_processes_book_in_turn_and_see_each_other(path):
    """Each handle stands for a process: they share nothing but the file."""
    ledgers = [SqliteLedger(path) for _ in range(3)]
    versions = [ledger.data_version() for ledger in ledgers]

    def book(k: int) -> None:
        for i in range(40):
            assert ledgers[k].post(f"w{k}", [deposit(f"a{i % 4}", 1, name=f"{k}-{i}")], i + 1)

    threads = [threading.Thread(target=book, args=(k,)) for k in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for ledger, version in zip(ledgers, versions, strict=True):
        assert ledger.balance("usd:external").debits_posted == 120
        assert ledger.data_version() != version
        ledger.verify()
    assert ledgers[0].verify().ok
    for ledger in ledgers:
        ledger.close()


def test_its_own_writes_do_not_change_its_data_version(path):
    ledger, other = SqliteLedger(path), SqliteLedger(path)
    version = ledger.data_version()
    ledger.post("g", [deposit("alice", 1)])
    assert ledger.data_version() == version
    other.post("cli", [deposit("alice", 2, name="2")])
    assert ledger.data_version() != version
    ledger.close()
    other.close()


def test_a_hold_resolved_by_another_process_is_not_resolved_twice(path):
    """The first handle remembers the hold and assumes it is open: the unique index knows better."""
    ledger, other = SqliteLedger(path), SqliteLedger(path)
    opening = opened("c")
    ledger.post("g", [deposit("alice", 10**9), hold_group(opening)])
    other.post("h", [close_group(opening, closed("c"))])
    billed = close_group(opening, closed("c", used(1)))
    assert ledger.post("g", [billed]) == [PostResult.PENDING_ALREADY_VOIDED]
    assert ledger.verify().ok
    ledger.close()
    other.close()


def test_a_batch_larger_than_a_statement_is_booked_whole(path):
    ledger = SqliteLedger(path)
    groups = [deposit(f"a{i % 7}", i, name=str(i)) for i in range(1237)]
    assert set(ledger.post("g", groups)) == {PostResult.OK}
    assert ledger.balance("usd:external").debits_posted == sum(range(1237))
    assert ledger.verify().transfers == 1237
    ledger.close()


def test_charges_come_in_pages(path):
    ledger = SqliteLedger(path)
    openings = [opened(f"c{i:04}") for i in range(2100)]
    groups = [g for o in openings for g in (hold_group(o), close_group(o, closed(o.charge_id)))]
    ledger.post("g", groups)
    ids = [record.charge_id for record in ledger.charges()]
    assert ids == [o.charge_id for o in openings]
    newest = ledger.charges("alice", newest_first=True, limit=1500)
    assert [record.charge_id for record in newest] == ids[:-1501:-1]
    ledger.close()


@pytest.mark.parametrize("table", ["transfer", "charge", "epoch"])
@pytest.mark.parametrize("change", ["UPDATE {} SET seq = seq + 100", "DELETE FROM {}"])
def test_the_file_itself_refuses_changes_to_what_is_booked(path, table, change):
    ledger = SqliteLedger(path)
    opening = opened("c")
    ledger.post("g", [hold_group(opening), close_group(opening, closed("c"))])
    with sqlite3.connect(path) as db:
        db.execute("INSERT INTO epoch VALUES (1, 0, 0, '', '', '', '', 0, '', NULL)")
        with pytest.raises(sqlite3.IntegrityError, match="never"):
            db.execute(change.format(table))
    db.close()
    ledger.close()


def test_a_file_that_is_no_ledger_is_refused_by_name(path):
    path.write_bytes(b"this is no database" * 100)
    with pytest.raises(LedgerError, match=r"ledger\.db: file is not a database"):
        SqliteLedger(path)


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(LedgerError, match=r"nowhere.*unable to open"):
        SqliteLedger(tmp_path / "nowhere" / "ledger.db")


def test_a_ledger_of_a_newer_version_is_left_alone(path):
    SqliteLedger(path).close()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(LedgerError, match=r"schema version 99.*newer Tollgate"):
        SqliteLedger(path)


def test_a_full_disk_refuses_the_batch_and_keeps_the_books(path):
    ledger = SqliteLedger(path)
    ledger.post("g", [deposit("alice", 5)], watermark=1)
    pages = ledger._writer.execute("PRAGMA page_count").fetchone()[0]
    ledger._writer.execute(f"PRAGMA max_page_count = {pages}")
    many = [single(f"t{i}", "usd:external", "usd:customer:bob", 1) for i in range(500)]
    with pytest.raises(LedgerError, match="full"):
        ledger.post("g", many, watermark=2)
    assert ledger.watermark("g") == 1
    assert ledger.balance("usd:customer:bob").available == 0
    ledger._writer.execute("PRAGMA max_page_count = 100000")
    assert set(ledger.post("g", many, watermark=2)) == {PostResult.OK}
    assert ledger.verify().ok
    ledger.close()

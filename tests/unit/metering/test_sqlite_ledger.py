"""What only a file can do: be damaged, be full, be of another version."""

from __future__ import annotations

import sqlite3

import pytest
from books import closed, deposit, opened, single

from metering.ledger import LedgerError, PostResult
from metering.posting import close_group, hold_group
from metering.sqlite_ledger import SqliteLedger


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ledger.db"


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
    with pytest.raises(LedgerError, match=r"nowhere cannot be written: it is missing"):
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
    ((pages,),) = ledger._writes.query("PRAGMA page_count")
    ledger._writes.query(f"PRAGMA max_page_count = {pages}")
    many = [single(f"t{i}", "usd:external", "usd:customer:bob", 1) for i in range(500)]
    with pytest.raises(LedgerError, match="full"):
        ledger.post("g", many, watermark=2)
    assert ledger.watermark("g") == 1
    assert ledger.balance("usd:customer:bob").available == 0
    ledger._writes.query("PRAGMA max_page_count = 100000")
    assert set(ledger.post("g", many, watermark=2)) == {PostResult.OK}
    assert ledger.verify().ok
    ledger.close()

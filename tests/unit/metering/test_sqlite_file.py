"""Settings, migrations and bulk inserts of a money file."""

from __future__ import annotations

import sqlite3
import threading

import msgspec
import pytest
from books import deposit, opened

from metering import chain
from metering.expiry import expire_group
from metering.posting import hold_group
from metering.sqlite_file import MIGRATIONS, insert_rows, open_file, transaction
from metering.sqlite_ledger import SqliteLedger
from metering.transfer import PostResult


def test_a_commit_survives_a_power_cut(tmp_path):
    db = open_file(tmp_path / "l.db")
    assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert db.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
    db.close()


def test_migrations_are_numbered_without_gaps():
    numbers = [int(file.name[:4]) for file in sorted(MIGRATIONS.glob("*.sql"))]
    assert numbers == list(range(1, len(numbers) + 1))


def test_a_ledger_made_before_the_keys_gets_their_table(tmp_path):
    path = tmp_path / "l.db"
    db = sqlite3.connect(path)
    db.executescript((MIGRATIONS / "0001_ledger.sql").read_text())
    db.execute("INSERT INTO account VALUES ('usd:external', 0, 0, 0, 0)")
    db.execute("PRAGMA user_version = 1")
    db.commit()
    db.close()
    db = open_file(path)
    assert db.execute("SELECT count(*) FROM api_key").fetchone() == (0,)
    assert db.execute("SELECT count(*) FROM account").fetchone() == (1,)
    db.close()


def test_books_made_before_holds_could_expire_are_whole_and_final_after_the_migration(tmp_path):
    path = tmp_path / "l.db"
    db = sqlite3.connect(path)
    before = [file for file in sorted(MIGRATIONS.glob("*.sql")) if int(file.name[:4]) < 5]
    for file in before:
        db.executescript(file.read_text())
    hold = hold_group(opened("c")).transfers[0]
    for i, transfer in enumerate([*deposit("alice", 10**7).transfers, hold]):
        link = chain.link(chain.GENESIS, i + 1, 7, transfer)
        values = (i + 1, *msgspec.structs.astuple(transfer), 7, f"w{i}", link)
        db.execute("INSERT INTO transfer VALUES (?,?,?,?,?,?,?,?,?,?,?,?)", values)
        db.execute("INSERT INTO writer VALUES (?, 0, 1, ?)", (f"w{i}", link))
    db.execute(
        "INSERT INTO account VALUES ('usd:external', 0, 10000000, 0, 0),"
        " ('usd:customer:alice', 1000000, 0, 0, 10000000), ('usd:fee_vault', 0, 0, 1000000, 0)"
    )
    db.execute(f"PRAGMA user_version = {len(before)}")
    db.commit()
    db.close()
    ledger = SqliteLedger(path)
    assert ledger.verify().ok
    assert ledger.post("x", [expire_group(hold)]) == [PostResult.OK]
    assert ledger.verify().ok
    ledger.close()
    db = sqlite3.connect(path)
    for change in ("UPDATE transfer SET amount = 1", "DELETE FROM transfer"):
        with pytest.raises(sqlite3.IntegrityError, match="never"):
            db.execute(change)
    db.close()


def test_processes_that_start_together_migrate_once(tmp_path):
    path, errors = tmp_path / "l.db", []

    def start() -> None:
        try:
            open_file(path).close()
        except BaseException as error:
            errors.append(error)
            raise

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def interrupted_after(db, statement):
    db.execute(statement)
    raise KeyboardInterrupt


def test_a_transaction_leaves_nothing_behind_when_it_fails(tmp_path):
    db = open_file(tmp_path / "l.db")
    row = "INSERT INTO account VALUES ('usd:external', 0, 0, 0, 0)"
    with pytest.raises(sqlite3.IntegrityError), transaction(db):
        db.execute(row + ", ('usd:external', 0, 0, 0, 0)")
    with pytest.raises(KeyboardInterrupt), transaction(db):
        interrupted_after(db, row)
    assert not db.in_transaction
    assert db.execute("SELECT count(*) FROM account").fetchone() == (0,)
    db.close()


@pytest.mark.parametrize("count", [0, 1, 2, 3, 64, 399, 401, 1000])
def test_every_row_is_inserted_once(tmp_path, count):
    db = open_file(tmp_path / "l.db")
    rows = [(f"usd:customer:a{i:04}", i, 0, 0, 0) for i in range(count)]
    insert_rows(db, "account", 5, [value for row in rows for value in row])
    assert db.execute("SELECT * FROM account ORDER BY id").fetchall() == rows
    db.close()

"""The auditor finds whatever was done to the tables behind the ledger's back, and says where."""

from __future__ import annotations

import contextlib
import re
import sqlite3

import psycopg
import pytest
from books import closed, deposit, opened, single, used

from metering import accounts, chain, verify
from metering.accounts import Limit
from metering.backend import open_ledger
from metering.ledger import EpochRow
from metering.posting import close_group, hold_group


@pytest.fixture
def ledger(where):
    """Nine transfers: 1 deposit, 2-3 a charge, 4-6 one beyond its hold, 7-8 a void, 9 an epoch."""
    made = open_ledger(where)
    made.post("cli", [deposit("alice", 10**9)])
    for name, hold, usage in (("c1", 10**6, used(5)), ("c2", 100, used(1)), ("c3", 10**6, None)):
        opening = opened(name, hold=hold)
        made.post("g", [hold_group(opening), close_group(opening, closed(name, usage))])
    row = EpochRow(
        epoch=1, from_seq=0, to_seq=8, params="{}", inputs="{}", result="{}", state="{}",
        created_ns=1, hash="ab",
    )  # fmt: skip
    made.post_epoch(row, [single("epoch:1", "io:issuance", "io:unemitted", 8)], "ide")
    yield made
    made.close()


def tamper(where, *statements):
    """As someone would who has the tables: triggers do not stop them."""
    if isinstance(where, str):
        with psycopg.connect(where) as server:
            for table in ("transfer", "charge", "epoch"):
                server.execute(f"ALTER TABLE {table} DISABLE TRIGGER ALL")
            for statement in statements:
                done = server.execute(_postgres(statement))
                assert done.rowcount, statement
        return
    db = sqlite3.connect(where)
    for trigger in db.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'").fetchall():
        db.execute(f"DROP TRIGGER {trigger[0]}")
    for statement in statements:
        assert db.execute(statement).rowcount, statement
    db.commit()
    db.close()


def _postgres(statement):
    """The bytes of SQLite's statement in PostgreSQL's words."""
    statement = statement.replace("zeroblob(32)", f"x'{bytes(32).hex()}'")
    return re.sub(r"x'([0-9a-f]{64})'", r"'\\x\1'", statement)


def test_untouched_books_are_right(ledger):
    found = ledger.verify()
    assert found.ok
    assert found.problem is None
    assert (found.transfers, found.charges, found.writers) == (9, 3, 3)


@pytest.mark.parametrize(
    ("statement", "seq", "problem"),
    [
        ("UPDATE transfer SET amount = amount + 1 WHERE seq = 1", 1, "deposit:alice:1.*chain"),
        ("UPDATE transfer SET debit = 'usd:customer:bob' WHERE seq = 2", 2, "c1:hold.*chain"),
        ("UPDATE transfer SET detail = '{}' WHERE seq = 3", 3, "c1:charge.*chain"),
        ("UPDATE transfer SET booked_ns = booked_ns + 1 WHERE seq = 3", 3, "c1:charge.*chain"),
        ("UPDATE transfer SET hash = zeroblob(32) WHERE seq = 4", 4, "c2:hold.*chain"),
        ("UPDATE transfer SET writer = 'cli' WHERE seq = 4", 4, "c2:hold.*chain"),
        ("UPDATE charge SET completion_tokens = 4 WHERE charge_id = 'c1'", 3, "c1:charge.*chain"),
        ("UPDATE charge SET outcome = 'empty' WHERE charge_id = 'c3'", 8, "c3:void.*chain"),
        ("DELETE FROM charge WHERE charge_id = 'c2'", 5, "c2:charge.*chain"),
        ("UPDATE charge SET seq = 4 WHERE charge_id = 'c2'", 4, "c2:hold.*chain"),
        ("UPDATE charge SET seq = 99 WHERE charge_id = 'c3'", 8, "c3:void.*chain"),
        ("DELETE FROM transfer WHERE seq = 2", 2, "row 2 is gone"),
        ("DELETE FROM transfer WHERE seq = 8", 8, "row 8 is gone"),
        ("DELETE FROM transfer WHERE seq = 1", 1, "row 1 is gone"),
        ("UPDATE charge SET outcome = 'fine' WHERE charge_id = 'c2'", None, "after 4 cannot be"),
        ("UPDATE epoch SET result = '[]'", 9, "epoch:1.*chain"),
        ("UPDATE epoch SET to_seq = 7", 9, "epoch:1.*chain"),
        ("UPDATE account SET credits_posted = credits_posted + 1 WHERE id = 'usd:customer:alice'",
         None, "usd:customer:alice shows .* its transfers make"),
        ("INSERT INTO account VALUES ('usd:customer:eve', 0, 0, 0, 100)", None, "customer:eve"),
        ("DELETE FROM account WHERE id = 'usd:fee_vault'", None, "usd:fee_vault shows None"),
        ("UPDATE writer SET links = links - 1 WHERE id = 'g'", 8, "writer g booked 6.*one more"),
        ("UPDATE writer SET links = links + 1 WHERE id = 'g'", 10, "booked 8 .* holds 7.* from 10"),
        ("DELETE FROM writer WHERE id = 'ide'", 9, "epoch:1: writer ide booked 0"),
        ("UPDATE writer SET hash = zeroblob(32) WHERE id = 'cli'", None, "writer cli"),
    ],
)  # fmt: skip
def test_it_names_the_first_bad_row(ledger, where, statement, seq, problem):
    tamper(where, statement)
    found = ledger.verify()
    assert not found.ok
    assert found.first_bad_seq == seq
    assert re.search(problem, found.problem or ""), found.problem


def test_rows_cut_off_the_end_of_a_chain_are_missed(ledger, where):
    tamper(where, "DELETE FROM epoch", "DELETE FROM transfer WHERE seq = 9")
    found = ledger.verify()
    assert "writer ide booked 1 transfers, the ledger holds 0" in (found.problem or "")
    assert found.first_bad_seq == 9


def test_the_end_of_the_books_is_missed_where_one_writer_booked_it(ledger, where):
    ledger.post("cli", [deposit("bob", 1), deposit("bob", 2, name="2")])
    tamper(where, "DELETE FROM transfer WHERE seq >= 10")
    found = ledger.verify()
    assert found.first_bad_seq == 10
    assert "writer cli booked 3 transfers, the ledger holds 1" in (found.problem or "")


COLUMNS = "id, kind, debit, credit, amount, code, pending_id, detail, booked_ns, writer, hash"


def test_a_pair_that_was_swapped_is_found_at_the_first_of_it(ledger, where):
    ledger.post(
        "cli", [deposit("bob", 1), deposit("bob", 2, name="2"), deposit("bob", 3, name="3")]
    )
    swap = "UPDATE transfer SET seq = {} WHERE seq = {}"
    tamper(where, swap.format(99, 10), swap.format(10, 11), swap.format(11, 99))
    found = ledger.verify()
    assert (found.first_bad_seq, found.problem and "deposit:bob:2: " in found.problem) == (10, True)


def test_a_row_put_between_others_is_found(ledger, where):
    tamper(
        where,
        "UPDATE transfer SET seq = -seq - 1 WHERE seq >= 5",
        "UPDATE transfer SET seq = -seq WHERE seq < 0",
        "UPDATE charge SET seq = -seq - 1 WHERE seq >= 5",
        "UPDATE charge SET seq = -seq WHERE seq < 0",
        "UPDATE epoch SET seq = 10",
        f"INSERT INTO transfer SELECT 5, 'forged', {COLUMNS[4:]} FROM transfer WHERE seq = 1",
    )
    found = ledger.verify()
    assert (found.first_bad_seq, found.problem and "forged" in found.problem) == (5, True)


@pytest.mark.parametrize("writer", ["cli", "eve"])
def test_a_row_put_at_the_end_with_a_hash_that_fits_is_found(ledger, where, writer):
    """The forger knows how hashes are made, but leaves alone what counts the writer's links."""
    forged = deposit("eve", 10**6).transfers[0]
    (kept,) = [row.hash for row in ledger.booked() if row.writer == "cli"]
    link = chain.link(kept if writer == "cli" else chain.GENESIS, 10, 5, forged)
    tamper(
        where,
        "INSERT INTO transfer VALUES (10, 'deposit:eve:1', 'single', 'usd:external',"
        f" 'usd:customer:eve', 1000000, 'test', NULL, '', 5, '{writer}', x'{link.hex()}')",
        "UPDATE account SET debits_posted = debits_posted + 1000000 WHERE id = 'usd:external'",
        "INSERT INTO account VALUES ('usd:customer:eve', 0, 0, 0, 1000000)",
    )
    found = ledger.verify()
    assert found.first_bad_seq == 10
    assert f"deposit:eve:1: writer {writer} booked" in (found.problem or "")


def test_a_chain_written_anew_does_not_pass_through_the_end_that_was_kept(ledger, where):
    """What nobody can see in the file alone."""
    kept = ledger.verify().chains["cli"]
    forged = deposit("alice", 10**9 + 1).transfers[0]
    (booked_ns,) = [row.booked_ns for row in ledger.booked() if row.writer == "cli"]
    link = chain.link(chain.GENESIS, 1, booked_ns, forged).hex()
    tamper(
        where,
        f"UPDATE transfer SET amount = amount + 1, hash = x'{link}' WHERE seq = 1",
        f"UPDATE writer SET hash = x'{link}' WHERE id = 'cli'",
        "UPDATE account SET debits_posted = debits_posted + 1 WHERE id = 'usd:external'",
        "UPDATE account SET credits_posted = credits_posted + 1 WHERE id = 'usd:customer:alice'",
    )
    found = ledger.verify()
    assert found.ok
    assert kept.links == found.chains["cli"].links == 1
    assert kept.hash != found.chains["cli"].hash


def test_it_tells_how_far_it_is(ledger, monkeypatch):
    monkeypatch.setattr(verify, "_TOLD_ROWS", 4)
    told = []
    assert ledger.verify(lambda *progress: told.append(progress)).ok
    assert told == [(4, 9), (8, 9)]


def test_rows_with_right_hashes_that_break_a_rule_are_found(ledger, monkeypatch):
    """Written by a broken gateway, say: one that lets customers overdraw."""
    with monkeypatch.context() as patch:
        patch.setattr(accounts, "limit_of", lambda account: Limit.NONE)
        ledger.post("g", [single("t", "usd:customer:bob", "usd:fee_vault", 11)])
    found = ledger.verify()
    assert found.first_bad_seq == 10
    assert found.problem == "transfer t breaks a rule: exceeds_credits"


def test_a_damaged_file_is_a_finding(tmp_path):
    path = tmp_path / "ledger.db"
    with contextlib.closing(open_ledger(path)) as ledger:
        ledger.post("cli", [deposit("alice", i, name=str(i)) for i in range(100)])
    with contextlib.closing(sqlite3.connect(path)) as db:
        ((page,),) = db.execute("SELECT rootpage FROM sqlite_master WHERE name = 'transfer'")
        ((page_bytes,),) = db.execute("PRAGMA page_size")
    with path.open("r+b") as file:
        file.seek((page - 1) * page_bytes)
        file.write(b"\x5a" * page_bytes)
    again = open_ledger(path)
    found = again.verify()
    assert not found.ok
    assert "damaged" in (found.problem or "")
    again.close()


def test_it_reads_one_moment_while_others_write(ledger, where):
    other = open_ledger(where)
    other.post("cli", [deposit("bob", 1)])
    assert ledger.verify().transfers == 10
    other.close()

"""The auditor finds whatever was done to the file behind the ledger's back, and says where."""

from __future__ import annotations

import re
import sqlite3

import pytest
from books import closed, deposit, opened, single, used

from metering import accounts
from metering.accounts import Limit
from metering.ledger import EpochRow
from metering.posting import close_group, hold_group
from metering.sqlite_ledger import SqliteLedger


@pytest.fixture
def ledger(tmp_path):
    """Nine transfers: 1 deposit, 2-3 a charge, 4-6 one beyond its hold, 7-8 a void, 9 an epoch."""
    made = SqliteLedger(tmp_path / "ledger.db")
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


def tamper(ledger, *statements):
    """As someone would who has the file and sqlite3: triggers do not stop them."""
    db = sqlite3.connect(ledger.path)
    for trigger in db.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'").fetchall():
        db.execute(f"DROP TRIGGER {trigger[0]}")
    for statement in statements:
        assert db.execute(statement).rowcount, statement
    db.commit()
    db.close()


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
        ("DELETE FROM transfer WHERE seq = 2", 3, "c1:charge.*chain"),
        ("DELETE FROM transfer WHERE seq = 8", 8, "no transfer of its own"),
        ("DELETE FROM transfer WHERE seq = 1", 2, "c1:hold breaks a rule: exceeds_credits"),
        ("UPDATE charge SET outcome = 'fine' WHERE charge_id = 'c2'", None, "after 4 cannot be"),
        ("UPDATE epoch SET result = '[]'", 9, "epoch:1.*chain"),
        ("UPDATE epoch SET to_seq = 7", 9, "epoch:1.*chain"),
        ("UPDATE account SET credits_posted = credits_posted + 1 WHERE id = 'usd:customer:alice'",
         None, "usd:customer:alice shows .* its transfers make"),
        ("INSERT INTO account VALUES ('usd:customer:eve', 0, 0, 0, 100)", None, "customer:eve"),
        ("DELETE FROM account WHERE id = 'usd:fee_vault'", None, "usd:fee_vault shows None"),
        ("UPDATE writer SET links = links - 1 WHERE id = 'g'", None, "writer g booked 6"),
        ("UPDATE writer SET hash = zeroblob(32) WHERE id = 'cli'", None, "writer cli"),
    ],
)  # fmt: skip
def test_it_names_the_first_bad_row(ledger, statement, seq, problem):
    tamper(ledger, statement)
    found = ledger.verify()
    assert not found.ok
    assert found.first_bad_seq == seq
    assert re.search(problem, found.problem or ""), found.problem


def test_rows_cut_off_the_end_of_a_chain_are_missed(ledger):
    tamper(ledger, "DELETE FROM epoch", "DELETE FROM transfer WHERE seq = 9")
    assert "writer ide booked 1 transfers, the ledger holds 0" in (ledger.verify().problem or "")


def test_rows_with_right_hashes_that_break_a_rule_are_found(ledger, monkeypatch):
    """Written by a broken gateway, say: one that lets customers overdraw."""
    with monkeypatch.context() as patch:
        patch.setattr(accounts, "limit_of", lambda account: Limit.NONE)
        ledger.post("g", [single("t", "usd:customer:bob", "usd:fee_vault", 11)])
    found = ledger.verify()
    assert found.first_bad_seq == 10
    assert found.problem == "transfer t breaks a rule: exceeds_credits"


def test_a_damaged_file_is_a_finding(ledger):
    ledger.close()
    size = ledger.path.stat().st_size
    with ledger.path.open("r+b") as file:
        file.seek(size // 2)
        file.write(b"\x5a" * 4096)
    again = SqliteLedger(ledger.path)
    found = again.verify()
    assert not found.ok
    assert "damaged" in (found.problem or "")
    again.close()


def test_it_reads_one_moment_while_others_write(ledger):
    other = SqliteLedger(ledger.path)
    other.post("cli", [deposit("bob", 1)])
    assert ledger.verify().transfers == 10
    other.close()

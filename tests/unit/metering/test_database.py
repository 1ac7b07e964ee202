"""What stores rely on, of SQLite and of PostgreSQL."""

from __future__ import annotations

import contextlib
import threading

import pytest

from metering.backend import open_database, open_ledger
from metering.ledger import LedgerError, TextError

COLUMNS = "key_id, account, name, digest, created_ns, revoked_ns"
ENTER = "INSERT INTO gateway_register VALUES (?, ?)"


def since(database) -> dict[str, int]:
    return dict(database.query("SELECT writer, since_ns FROM gateway_register ORDER BY writer"))


def test_what_goes_in_comes_out(database):
    values = ("key", "alice", "a name, 'quoted' and ? too", bytes(range(256)), 2**63 - 1, None)
    insert = f"INSERT INTO api_key ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)"
    assert database.query(insert, *values) == []
    select = f"SELECT {COLUMNS} FROM api_key WHERE name <> '?' AND account = ?"
    assert database.query(select, "alice") == [values]


def test_a_sum_is_a_whole_number(database):
    for writer in "abc":
        database.query(ENTER, writer, 2**62)
    ((total, most, count),) = database.query(
        "SELECT sum(since_ns / 4), max(since_ns), count(*) FROM gateway_register"
    )
    assert (total, most, count) == (3 * 2**60, 2**62, 3)
    assert isinstance(total, int)


def test_text_is_ordered_by_its_bytes(database):
    names = ["a b", "a-b", "B", "_", "\u00e9", "a", "z"]
    for name in names:
        database.query(ENTER, name, 0)
    assert list(since(database)) == sorted(names)


def test_what_was_returned_is_there(database):
    statement = ENTER + " ON CONFLICT (writer) DO UPDATE SET since_ns = excluded.since_ns"
    assert database.query(statement + " RETURNING since_ns", "a", 1) == [(1,)]
    assert database.query(statement + " RETURNING since_ns", "a", 2) == [(2,)]
    assert since(database) == {"a": 2}


def test_a_transaction_that_fails_leaves_nothing_behind(database):
    def twice() -> None:
        with database.transaction() as session:
            session.query(ENTER, "a", 1)
            session.query(ENTER, "a", 2)

    def interrupted() -> None:
        with database.transaction() as session:
            session.query(ENTER, "a", 1)
            raise KeyboardInterrupt

    with pytest.raises(LedgerError, match=r"(?i)unique"):
        twice()
    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert since(database) == {}
    with database.transaction() as session:
        session.query(ENTER, "a", 3)
    assert since(database) == {"a": 3}


def test_transactions_run_one_after_another(database, where):
    """Each reads what the one before it wrote: no addition is lost."""
    database.query(ENTER, "a", 0)
    others = [open_database(where) for _ in range(4)]

    def add(other) -> None:
        for _ in range(25):
            with other.transaction() as session:
                ((before,),) = session.query("SELECT since_ns FROM gateway_register")
                session.query("UPDATE gateway_register SET since_ns = ?", before + 1)

    threads = [threading.Thread(target=add, args=(other,)) for other in others]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for other in others:
        other.close()
    assert since(database) == {"a": 100}


def test_a_statement_is_refused_with_the_name_of_the_database(database):
    with pytest.raises(LedgerError, match="nowhere") as refused:
        database.query("SELECT * FROM nowhere")
    assert database.name in str(refused.value)
    assert "between" not in str(refused.value)


def test_a_note_neither_waits_for_the_books_nor_tells_of_a_change(postgres_url):
    with (
        contextlib.closing(open_database(postgres_url)) as database,
        contextlib.closing(open_database(postgres_url)) as other,
        contextlib.closing(open_ledger(postgres_url)) as ledger,
    ):
        before = ledger.data_version()
        with database.transaction() as session:
            session.query("SELECT 1")
            noted = other.note(
                "INSERT INTO response (response_id, account, status, created_ns, expires_ns,"
                " alive_ns, bytes, input, response) VALUES (?, 'a', 's', 0, 0, 0, 0, '', '')"
                " RETURNING response_id",
                "r",
            )
        assert noted == [("r",)]
        assert database.query("SELECT response_id FROM response") == [("r",)]
        assert ledger.data_version() == before + 1  # the transaction's, which told of nothing


def test_a_text_with_a_nul_is_refused_as_such_and_the_next_statement_is_answered(postgres_url):
    with contextlib.closing(open_database(postgres_url)) as database:
        with pytest.raises(TextError, match="NUL"):
            database.query("SELECT id FROM account WHERE id = ?", "a\0b")
        with pytest.raises(TextError, match="NUL"), database.transaction() as session:
            session.insert("model_drain", 2, ["whole", 1, "a\0b", 1])
        assert database.query("SELECT model FROM model_drain") == []

"""The connection: settings, migrations, and a server that goes and comes back."""

from __future__ import annotations

import contextlib
import socket
import tempfile
import threading
import time
from pathlib import Path

import psycopg
import pytest
from books import deposit
from postgres_process import PostgresProcess

from metering import sqlite_file
from metering.ledger import LedgerError, PostResult
from metering.postgres_database import PostgresDatabase
from metering.postgres_ledger import PostgresLedger
from metering.postgres_link import MIGRATIONS, PostgresLink, numbered
from metering.postgres_watch import Plug


@pytest.fixture(scope="module")
def server():
    """One to stop and to kill."""
    with (
        tempfile.TemporaryDirectory(prefix="tollgate-postgres-") as folder,
        PostgresProcess(Path(folder)) as process,
    ):
        yield process


def test_places_are_numbered_outside_of_text():
    assert numbered("a = ? AND b = '?''s' AND c IN (?, ?)") == (
        "a = $1 AND b = '?''s' AND c IN ($2, $3)"
    )


def test_every_migration_is_there_for_either_database():
    names = [file.name for file in sorted(MIGRATIONS.glob("*.sql"))]
    assert names == [file.name for file in sorted(sqlite_file.MIGRATIONS.glob("*.sql"))]


def columns(url: str) -> dict[str, list[str]]:
    with psycopg.connect(url) as db:
        rows = db.execute(
            "SELECT table_name, column_name FROM information_schema.columns"
            " WHERE table_schema = current_schema() ORDER BY table_name, ordinal_position"
        )
        found: dict[str, list[str]] = {}
        for table, column in rows:
            found.setdefault(table, []).append(column)
        return found


def test_both_databases_have_the_same_tables(postgres_url, tmp_path):
    PostgresLink(postgres_url).close()
    with contextlib.closing(sqlite_file.open_file(tmp_path / "l.db")) as db:
        tables = db.execute(
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%'"
        )
        expected = {
            name: [row[1] for row in db.execute(f"PRAGMA table_info({name})")] for (name,) in tables
        }
    found = columns(postgres_url)
    own = {"ledger_change", "ledger_schema"}
    assert {name: found[name] for name in found.keys() - own} == expected


def test_a_ledger_made_by_an_older_version_is_brought_up_to_date(postgres_url):
    first = (MIGRATIONS / "0001_ledger.sql").read_text()
    with psycopg.connect(postgres_url) as db:
        db.execute(first)
        db.execute("INSERT INTO account VALUES ('usd:external', 0, 0, 0, 0)")
        db.execute("CREATE TABLE ledger_schema (version BIGINT NOT NULL)")
        db.execute("INSERT INTO ledger_schema VALUES (1)")
    with contextlib.closing(PostgresDatabase(postgres_url)) as database:
        assert database.query("SELECT count(*) FROM api_key") == [(0,)]
        assert database.query("SELECT id FROM account") == [("usd:external",)]


def test_a_migration_that_fails_leaves_the_ledger_as_it_was(postgres_url):
    with psycopg.connect(postgres_url) as db:
        db.execute("CREATE TABLE api_key (in_the_way BIGINT)")
    with pytest.raises(LedgerError, match="api_key"):
        PostgresLink(postgres_url)
    assert list(columns(postgres_url)) == ["api_key"]


def test_processes_that_start_together_migrate_once(postgres_url):
    errors: list[BaseException] = []

    def start() -> None:
        try:
            PostgresLink(postgres_url).close()
        except BaseException as error:
            errors.append(error)
            raise

    threads = [threading.Thread(target=start) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def test_a_commit_survives_a_power_cut_whatever_the_server_says(postgres_url):
    careless = postgres_url + "%20-csynchronous_commit%3Doff"
    with psycopg.connect(careless) as db:
        assert db.execute("SHOW synchronous_commit").fetchone() == ("off",)
    with contextlib.closing(PostgresLink(careless)) as link, link.connected() as connection:
        assert connection.execute("SHOW synchronous_commit").fetchone() == ("on",)


def test_no_question_starts_workers_however_cheap_they_seem(postgres_url):
    with contextlib.closing(PostgresLink(postgres_url)) as link, link.connected() as connection:
        for cost in ("parallel_setup_cost", "parallel_tuple_cost", "min_parallel_table_scan_size"):
            connection.execute("SELECT set_config($1, '0', false)", (cost,))
        plan = connection.execute("EXPLAIN SELECT count(*) FROM pg_attribute").fetchall()
    assert not any("Workers" in line for (line,) in plan), plan


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_a_server_that_was_started_again_is_found_again(server, how):
    """An idle connection is dead by then: nothing that was asked after the start fails for it."""
    url = server.fresh()
    with (
        contextlib.closing(PostgresLedger(url)) as ledger,
        contextlib.closing(PostgresDatabase(url)) as database,
    ):
        assert ledger.post("g", [deposit("alice", 5)], watermark=1) == [PostResult.OK]
        getattr(server, how)()
        with pytest.raises(LedgerError):
            ledger.post("g", [deposit("alice", 7, name="2")], watermark=2)
        server.start()
        assert database.query("SELECT watermark FROM writer") == [(1,)]
        assert ledger.balance("usd:customer:alice").available == 5
        wait_for(lambda: ledger.post("g", [deposit("alice", 7, name="2")], watermark=2))
        assert ledger.balance("usd:customer:alice").available == 12
        assert ledger.watermark("g") == 2
        assert ledger.verify().ok


def wait_for(ask) -> None:
    """Right after a failure to connect nobody tries again for a moment."""
    done = False
    while not done:
        with contextlib.suppress(LedgerError):
            ask()
            done = True


def test_a_session_that_was_ended_is_replaced(postgres_url):
    with (
        contextlib.closing(PostgresDatabase(postgres_url)) as database,
        psycopg.connect(postgres_url, autocommit=True) as other,
    ):
        ((pid,),) = database.query("SELECT pg_backend_pid()")
        assert other.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,)).fetchone() == (True,)
        ((new,),) = database.query("SELECT pg_backend_pid()")
        assert new != pid


def test_a_transaction_that_hangs_holds_nobody_up_for_ever(postgres_url, monkeypatch):
    settings = "SELECT set_config('lock_timeout', '50ms', false)"
    monkeypatch.setattr("metering.postgres_link._SETTINGS", settings)
    with (
        contextlib.closing(PostgresDatabase(postgres_url)) as one,
        contextlib.closing(PostgresDatabase(postgres_url)) as other,
    ):
        with one.transaction(), pytest.raises(LedgerError, match="lock timeout"):
            other.query("DELETE FROM gateway_register")
        assert other.query("DELETE FROM gateway_register") == []


def test_a_server_that_never_answers_is_given_up_and_taken_back(server):
    with contextlib.closing(PostgresLink(server.url, answer_s=0.2)) as link:
        with server.frozen(), pytest.raises(LedgerError), link.connected() as connection:
            connection.execute("SELECT 1")
        with link.connected() as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)


def test_only_who_is_waited_on_is_given_up():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        plug = Plug(ours.fileno(), answer_s=1)
        plug.pull_if_late(time.monotonic() + 10)
        ours.send(b"a")
        with plug.watched():
            plug.pull_if_late(time.monotonic())
            ours.send(b"b")
            plug.pull_if_late(time.monotonic() + 2)
            with pytest.raises(BrokenPipeError):
                ours.send(b"c")
        assert theirs.recv(9) == b"ab"
        plug.close()

"""`tollgate ledger backup` and `restore` on files: what is kept, what is lost, what is refused."""

from __future__ import annotations

import contextlib
import json
import shutil
from pathlib import Path

import pytest
from books import closed, deposit, opened, used
from click.testing import CliRunner

from gateway.cli import main
from gateway.home import Home
from metering.accounts import customer
from metering.gateway_register import GatewayRegister
from metering.poster import Poster
from metering.spool import Spool
from metering.sqlite_database import SqliteDatabase
from metering.sqlite_file import connect
from metering.sqlite_ledger import SqliteLedger

PAID_IN = 10**9


def tollgate(home: Home, *words: str) -> tuple[int, dict, str]:
    done = CliRunner().invoke(main, ["ledger", *words, "--json", "--home", str(home.path)])
    text = done.stdout.strip()
    return done.exit_code, json.loads(text) if text else {}, done.output


@pytest.fixture
def home(tmp_path) -> Home:
    """With books in which alice has paid in."""
    place = Home(tmp_path / "home")
    place.path.mkdir()
    with contextlib.closing(SqliteLedger(place.ledger_file)) as ledger:
        assert ledger.post("cli", [deposit("alice", PAID_IN)])[0].booked
    return place


def run_gateway(home: Home, *charges: str, account: str = "alice", kept_s: float = 3600) -> None:
    """What a gateway's life comes to here: these charges spooled, all of its spool booked."""
    spool = Spool(home.spool_folder(0), kept_s=kept_s)
    spool.recover(0)
    with contextlib.closing(spool), contextlib.closing(SqliteLedger(home.ledger_file)) as ledger:
        spool.start(lambda call: call())
        poster = Poster(spool, ledger, lambda updates: None)
        poster.start()
        for name in charges:
            spool.append(opened(name, account=account))
            spool.append(closed(name, used(5)), lambda error: None)
        while spool.last_seq < poster._seq or spool.backlog:
            assert poster.drain(10) or poster.failed is None, poster.failed
        poster.stop()


def books(home: Home) -> tuple[set[str], int]:
    with contextlib.closing(SqliteLedger(home.ledger_file)) as ledger:
        assert ledger.verify().ok
        return (
            {charge.charge_id for charge in ledger.charges()},
            ledger.balance(customer("alice")).posted,
        )


def ledger_name(home: Home) -> str:
    with contextlib.closing(SqliteDatabase(home.ledger_file)) as database:
        return GatewayRegister(database).ledger_name()


def test_what_was_kept_is_booked_again_and_nothing_twice(home, tmp_path):
    run_gateway(home, "a", "b")
    name, copy = ledger_name(home), tmp_path / "copy.db"
    status, told, _ = tollgate(home, "backup", str(copy))
    assert (status, told["verified"]["charges"], told["last_seq"]) == (0, 2, 3)
    run_gateway(home, "c", "d")
    run_gateway(home, "e")
    before = books(home)
    status, told, output = tollgate(home, "restore", str(copy))
    assert status == 0, output
    assert told["spools"] == [{"spool": "spool", "rows": 6, "lost_rows": 0}]
    assert len(books(home)[0]) == 2
    assert ledger_name(home) != name
    run_gateway(home)
    assert books(home) == before
    run_gateway(home, "f")
    assert len(books(home)[0]) == 6
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy.db", "home"]


def test_without_what_was_kept_it_says_what_is_lost_and_can_go_back(home, tmp_path):
    copy = tmp_path / "copy.db"
    run_gateway(home, "a", kept_s=0)
    tollgate(home, "backup", str(copy))
    run_gateway(home, "b", "c", kept_s=0)
    before = books(home)
    status, told, output = tollgate(home, "restore", str(copy))
    assert status == 1
    assert told["spools"] == [{"spool": "spool", "rows": 0, "lost_rows": 4}], output
    replaced = Path(told["replaced"])
    assert tollgate(home, "restore", str(replaced))[0] == 0
    assert books(home) == before


def test_a_gateway_that_serves_is_not_pulled_from_under(home, tmp_path):
    copy = tmp_path / "copy.db"
    assert tollgate(home, "backup", str(copy))[0] == 0
    with contextlib.closing(Spool(home.spool_folder(0))):
        status, _, output = tollgate(home, "restore", str(copy))
    assert (status, "stop it first" in output) == (1, True)


def test_a_backup_is_never_written_over_nor_a_wrong_one_restored(home, tmp_path):
    copy = tmp_path / "copy.db"
    run_gateway(home, "a")
    assert tollgate(home, "backup", str(copy))[0] == 0
    assert "exists" in tollgate(home, "backup", str(copy))[2]
    with contextlib.closing(connect(copy)) as db:
        db.execute("DROP TRIGGER transfer_is_final")
        db.execute("UPDATE transfer SET amount = amount + 1 WHERE seq = 1")
    before = books(home)
    status, _, output = tollgate(home, "restore", str(copy))
    assert (status, "nothing was changed" in output) == (1, True)
    assert books(home) == before
    assert "no such file" in tollgate(home, "restore", str(tmp_path / "none.db"))[2]
    assert "name the backup" in tollgate(home, "restore")[2]


def test_wrong_books_are_backed_up_and_said_to_be_wrong(home, tmp_path):
    with contextlib.closing(connect(home.ledger_file)) as db:
        db.execute("UPDATE account SET debits_posted = debits_posted + 1")
    status, told, _ = tollgate(home, "backup", str(tmp_path / "copy.db"))
    assert (status, told["verified"]["ok"]) == (1, False)


def test_postgresql_is_backed_up_by_its_own_tools(home, postgres_url, monkeypatch, tmp_path):
    monkeypatch.setenv("LEDGER", postgres_url)
    home.config_file.write_text('[ledger]\nurl_env = "LEDGER"\n')
    assert "pg_dump" in tollgate(home, "backup", str(tmp_path / "x"))[2]
    assert "pg_dump" in tollgate(home, "restore", str(tmp_path / "x"))[2]
    status, told, output = tollgate(home, "restore")
    assert (status, told["replaced"]) == (0, None), output


def test_a_payment_after_the_backup_is_entered_again_before_the_start(home, tmp_path):
    """Spools hold charges, not payments: what nobody can pay is borne by the house."""
    copy, again = tmp_path / "copy.db", tmp_path / "again"
    tollgate(home, "backup", str(copy))
    with contextlib.closing(SqliteLedger(home.ledger_file)) as ledger:
        ledger.post("cli", [deposit("bob", PAID_IN)])
    run_gateway(home, "a", account="bob")
    before = balances(home, "usd:shortfall", customer("bob"))
    assert before[0] == 0 < before[1] < PAID_IN
    assert tollgate(home, "restore", str(copy))[0] == 0
    shutil.copytree(home.path, again)
    run_gateway(home)
    assert balances(home, "usd:shortfall", customer("bob")) == [before[1] - PAID_IN, 0]
    with contextlib.closing(SqliteLedger(Home(again).ledger_file)) as ledger:
        ledger.post("cli", [deposit("bob", PAID_IN)])
    run_gateway(Home(again))
    assert balances(Home(again), "usd:shortfall", customer("bob")) == before


def balances(home: Home, *accounts: str) -> list[int]:
    with contextlib.closing(SqliteLedger(home.ledger_file)) as ledger:
        assert ledger.verify().ok
        return [ledger.balance(account).posted for account in accounts]

"""The commands on the books: what they print, what they refuse, how they exit."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import sqlite3
import sys

import pytest
from books import closed, opened, used
from click.testing import CliRunner

from gateway.cli import ledger_verify, main
from metering import keys
from metering.key_store import KeyStore
from metering.posting import close_group, hold_group
from metering.sqlite_database import SqliteDatabase
from metering.sqlite_ledger import SqliteLedger


@pytest.fixture
def ledger(tmp_path, run):
    run("account", "deposit", "alice", "1")
    made = SqliteLedger(tmp_path / "home" / "ledger.db")
    yield made
    made.close()


def serve(ledger, name, usage=None, account="alice"):
    opening = opened(name, account=account)
    ledger.post("g", [hold_group(opening), close_group(opening, closed(name, usage))])


def test_an_account_is_created_once(run):
    assert run("account", "create", "alice") == (0, "Created account 'alice'.\n", "")
    code, out, _ = run("account", "create", "alice")
    assert (code, out) == (0, "Account 'alice' exists already; nothing changed.\n")


def test_a_deposit_is_booked_once_by_its_id(run, lines):
    first = run("account", "deposit", "alice", "5.00", "--id", "inv-1")
    assert first[0] == 0
    assert first[1] == "Deposited 5 USD (deposit 'inv-1'). 'alice' has 5 USD available.\n"
    again = run("account", "deposit", "alice", "5", "--id", "inv-1")
    assert again[0] == 0
    assert "was booked before; nothing changed" in again[1]
    (line,) = lines("account", "deposit", "alice", "5", "--id", "inv-1")
    assert line["result"] == "exists"
    (line,) = lines("account", "show", "alice")
    assert line["available_nano_usd"] == 5_000_000_000
    assert line["available_usd"] == "5"


@pytest.mark.parametrize(
    ("args", "why"), [(("alice", "6"), "another amount"), (("bob", "5"), "another account")]
)
def test_a_deposit_id_stands_for_one_deposit(run, args, why):
    run("account", "deposit", "alice", "5", "--id", "inv-1")
    code, out, err = run("account", "deposit", *args, "--id", "inv-1")
    assert (code, out) == (1, "")
    assert why in err
    assert err.startswith("Error: deposit 'inv-1'")
    assert err.count("\n") == 1


def test_deposits_without_an_id_are_all_booked(run, lines):
    run("account", "deposit", "alice", "5")
    run("account", "deposit", "alice", "5")
    (line,) = lines("account", "show", "alice")
    assert line["paid_in_nano_usd"] == 10**10


@pytest.mark.parametrize(
    ("args", "why"),
    [
        (("account", "deposit", "alice", "x"), "no amount of USD"),
        (("account", "deposit", "alice", "0"), "changes nothing"),
        (("account", "deposit", "alice", "0.0000000001"), "finer than USD"),
        (("account", "deposit", "Alice!", "1"), "no account name"),
        (("account", "show", "a b"), "no account name"),
        (("key", "create"), "either --account or --parent"),
        (("usage", "--limit", "0"), "--limit"),
    ],
)
def test_wrong_arguments_exit_with_2_and_the_reason(run, args, why):
    code, out, err = run(*args)
    assert (code, out) == (2, "")
    assert why in err


@pytest.mark.parametrize(
    "args",
    [("usage",), ("account", "show", "alice"), ("account", "list"), ("key", "list"),
     ("key", "revoke", "k"), ("ledger", "expire"), ("ledger", "trial-balance"),
     ("ledger", "export", "charges")],
)  # fmt: skip
def test_a_home_without_a_ledger_is_said_to_be_one(run, args, tmp_path):
    code, out, err = run(*args)
    assert (code, out) == (1, "")
    assert "there is no ledger in" in err
    assert not (tmp_path / "home").exists()


def test_an_unknown_account_is_named(run, ledger):
    code, _, err = run("account", "show", "bob")
    assert code == 1
    assert "there is no account 'bob'" in err


def test_accounts_are_listed(run, lines, ledger):
    run("account", "create", "bob")
    assert [line["account"] for line in lines("account", "list")] == ["alice", "bob"]
    code, out, _ = run("account", "list")
    assert code == 0
    assert out.splitlines()[2].split() == ["alice", "1", "0", "1", "0", "0", "0", "active"]


def test_a_key_is_shown_once_and_only_its_hash_is_kept(run, lines, tmp_path):
    (made,) = lines("key", "create", "--account", "alice", "--name", "laptop")
    secret = made.pop("api_key")
    assert made["account"] == "alice"
    (listed,) = lines("key", "list")
    assert listed == made
    with contextlib.closing(SqliteDatabase(tmp_path / "home" / "ledger.db")) as database:
        (key,) = KeyStore(database).load_all()
    assert key.digest == keys.digest(secret)
    _, out, _ = run("key", "list", "--account", "alice")
    assert secret not in out
    assert made["key_id"] in out
    assert lines("key", "list", "--account", "bob") == []
    assert [line["account"] for line in lines("account", "list")] == ["alice"]


def test_the_limits_of_a_key_are_kept_and_shown(run, lines):
    options = ("--rpm", "600", "--tpm", "200000", "--concurrency", "8")
    (made,) = lines("key", "create", "--account", "alice", *options)
    limits = {"requests_per_minute": 600, "tokens_per_minute": 200_000, "concurrent_requests": 8}
    assert made.items() >= limits.items()
    assert lines("key", "list")[0].items() >= limits.items()
    _, out, _ = run("key", "list")
    assert {"rpm", "tpm", "concurrency", "600", "200000", "8"} <= set(out.split())
    code, _, err = run("key", "create", "--account", "alice", "--rpm", "0")
    assert code == 2
    assert "--rpm" in err


def test_a_new_key_alone_is_on_stdout(run):
    code, out, err = run("key", "create", "--account", "alice")
    assert code == 0
    assert out.startswith("sk-tg-")
    assert out.count("\n") == 1
    assert "not shown again" in err


def test_a_key_is_revoked(run, lines):
    (made,) = lines("key", "create", "--account", "alice")
    code, out, _ = run("key", "revoke", made["key_id"])
    assert (code, out) == (0, f"Key {made['key_id']} of account 'alice' is revoked.\n")
    assert lines("key", "list")[0]["revoked_at"] is not None
    code, _, err = run("key", "revoke", "key_0")
    assert code == 1
    assert "there is no key 'key_0'" in err


def test_usage_is_one_object_a_charge(lines, ledger):
    serve(ledger, "c1", used(5, prompt=10, cached=4))
    serve(ledger, "c2")
    billed, voided = lines("usage")
    expected = {
        "request_id": "req_c1",
        "account": "alice",
        "key_id": "key_1",
        "model": "tiny",
        "node_id": "node-1",
        "prompt_tokens": 10,
        "cached_tokens": 4,
        "completion_tokens": 5,
        "usage_source": "node",
        "cost_nano_usd": 6 * 200 + 4 * 50 + 5 * 600,
        "charged_nano_usd": 6 * 200 + 4 * 50 + 5 * 600,
        "outcome": "completed",
        "created": 1_700_000_000,
        "created_ns": 1_700_000_000_000_000_000,
        "closed": 1_700_000_001,
    }
    assert expected.items() <= billed.items()
    assert (voided["cost_nano_usd"], voided["usage_source"], voided["node_id"]) == (0, None, None)


def test_usage_can_be_narrowed(run, lines, ledger):
    for i in range(25):
        serve(ledger, f"c{i}", used(1), account="alice" if i % 5 else "bob")
    assert len(lines("usage")) == 25
    assert [line["charge_id"] for line in lines("usage", "--limit", "2")] == ["c23", "c24"]
    assert {line["account"] for line in lines("usage", "--account", "bob")} == {"bob"}
    code, out, _ = run("usage")
    assert code == 0
    assert len(out.splitlines()) == 2 + 20
    assert "req_c24" in out.splitlines()[-1]


def test_the_trial_balance_adds_up(run, lines, ledger):
    serve(ledger, "c1", used(5))
    (found,) = lines("ledger", "trial-balance")
    usd = found["totals"]["usd"]
    assert found["balanced"]
    assert usd["debits_posted"] == usd["credits_posted"] == 10**9 + 5000
    assert {line["account"] for line in found["accounts"]} == {
        "usd:external",
        "usd:customer:alice",
        "usd:fee_vault",
    }
    code, out, _ = run("ledger", "trial-balance")
    assert code == 0
    assert out.splitlines()[-1].split() == ["sum", "1.000005", "1.000005", "0", "0", "0"]


def test_books_that_were_tampered_with_exit_with_1(run, ledger):
    assert json.loads(run("ledger", "verify", "--json")[1])["ok"] is True
    assert run("ledger", "verify")[0] == 0
    with sqlite3.connect(ledger.path) as db:
        db.execute("UPDATE account SET credits_posted = credits_posted + 5 WHERE id LIKE '%alice'")
    db.close()
    code, out, _ = run("ledger", "verify", "--json")
    found = json.loads(out)
    assert (code, found["ok"]) == (1, False)
    assert "usd:customer:alice" in found["problem"]
    code, out, err = run("ledger", "verify")
    assert (code, out) == (1, "")
    assert err.startswith("The books are WRONG")
    code, _, _ = run("ledger", "trial-balance")
    assert code == 1


@pytest.mark.parametrize(
    "command",
    [("account", "create"), ("account", "deposit"), ("account", "show"), ("account", "list"),
     ("account", "deposits"), ("account", "refund"), ("account", "statement"),
     ("key", "create"), ("key", "list"), ("key", "revoke"), ("usage",),
     ("ledger", "trial-balance"), ("ledger", "verify")],
)  # fmt: skip
def test_every_command_has_help_with_an_example(command):
    done = CliRunner().invoke(main, [*command, "--help"])
    assert done.exit_code == 0
    assert f"Example: tollgate {' '.join(command)}" in done.output
    assert "--json" in done.output


def test_holds_of_a_gateway_that_is_lost_are_released_once(run, lines, ledger):
    ledger.post("lost", [hold_group(opened("c", hold=7))])
    (released,) = lines("ledger", "expire")
    assert released == {
        "released": [{"id": "c:hold", "account": "usd:customer:alice", "amount_nano_usd": 7}],
        "amount_nano_usd": 7,
    }
    assert run("ledger", "expire") == (0, "No hold is open whose time is over.\n", "")
    ledger.post("lost", [hold_group(opened("d", hold=10**8))])
    assert run("ledger", "expire") == (0, "Released 1 holds of 0.1 USD.\n", "")


def test_books_that_cannot_be_read_are_not_called_wrong(run, tmp_path):
    code, _, err = run("ledger", "verify")
    assert (code, "there is no ledger" in err) == (3, True)
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "ledger.db").write_bytes(b"this is no database" * 100)
    code, _, err = run("ledger", "verify", "--json")
    assert (code, "is not a database" in err) == (3, True)


def test_a_verification_shows_how_far_it_is_where_somebody_looks(ledger, tmp_path, monkeypatch):
    """On a terminal of its own; what is asked for stays alone on standard output."""
    monkeypatch.setattr("metering.verify._TOLD_ROWS", 1)
    outer, inner = pty.openpty()
    with os.fdopen(inner, "w") as terminal, monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", terminal)
        with ledger_verify._progress() as on_progress:
            assert ledger.verify(on_progress).ok
    shown = ""
    with contextlib.suppress(OSError):  # once all is read: nobody writes to it any more
        while True:
            shown += os.read(outer, 65536).decode()
    os.close(outer)
    assert "1/1" in shown

"""`tollgate settle pay` and the commands around it, on the embedded chain."""

from __future__ import annotations

import json
import os
import sqlite3
from pathlib import Path

import pytest
from chain_world import settled_books, wallet_of
from click.testing import CliRunner, Result

from gateway.cli import main
from metering import accounts
from metering.accounts import Asset
from metering.sqlite_ledger import SqliteLedger

SUPPLIERS = 12


@pytest.fixture
def home(tmp_path: Path) -> Path:
    settled_books(tmp_path / "ledger.db", SUPPLIERS)
    return tmp_path


def tollgate(home: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["settle", *arguments, "--home", str(home)])


def facts(home: Path, *arguments: str):
    result = tollgate(home, *arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def set_wallets(home: Path, suppliers: int) -> None:
    for number in range(suppliers):
        facts(home, "wallet", "set", f"s{number:05}", str(wallet_of(number)))


def test_an_epoch_is_planned_paid_shown_and_checked(home):
    set_wallets(home, SUPPLIERS - 1)
    planned = facts(home, "pay", "--epoch", "1", "--dry-run")
    assert planned["dry_run"]
    assert planned["payments"] == []
    assert [held["supplier_id"] for held in planned["held"]] == ["s00011"]
    paid = facts(home, "pay", "--epoch", "1")
    assert paid["transactions"] == planned["transactions"]
    assert {row["state"] for row in paid["payments"]} == {"paid"}
    assert facts(home, "pay", "--epoch", "1")["transactions"] == []

    shown = facts(home, "payments", "--epoch", "1")
    states = {row["supplier_id"]: row["state"] for row in shown["payments"]}
    assert [name for name, state in states.items() if state == "owed"] == ["s00011"]
    ledger = SqliteLedger(home / "ledger.db")
    for row in shown["payments"]:
        account = accounts.supplier(Asset.IO, row["supplier_id"] or "x")
        if row["supplier_id"]:
            assert ledger.balance(account).posted == row["io"]
        else:
            assert ledger.balance(accounts.IO_BURNED).posted == row["io"] > 0
    ledger.close()

    checked = facts(home, "chain-check")
    assert checked["agrees"]
    assert checked["differences"] == []
    assert checked["topped_up_io"] == 0
    assert checked["owed_io"] == planned["held"][0]["io"] > 0
    assert checked["supply_io"] == 80_000_000_000_000_000 - checked["burned_io"]
    assert all(each["paid_io"] == each["held_io"] for each in checked["wallets"])

    facts(home, "wallet", "set", "s00011", str(wallet_of(11)))
    assert len(facts(home, "pay", "--epoch", "1")["transactions"]) == 1
    assert facts(home, "chain-check")["owed_io"] == 0


def test_people_read_tables(home):
    set_wallets(home, 1)
    plan = tollgate(home, "pay", "--epoch", "1", "--dry-run").stdout
    assert "would be sent" in plan
    assert "no wallet is set" in plan
    tollgate(home, "pay", "--epoch", "1")
    assert "the burn" in tollgate(home, "payments", "--epoch", "1").stdout
    assert "agree to the base unit" in tollgate(home, "chain-check").stdout
    assert "was there" in tollgate(home, "chain-setup").stdout
    assert str(wallet_of(0)) in tollgate(home, "wallet", "list").stdout
    assert "chain-check" in CliRunner().invoke(main, ["settle", "--help"]).stdout


def test_who_set_which_wallet_when_is_kept(home):
    first, second = str(wallet_of(1)), str(wallet_of(2))
    facts(home, "wallet", "set", "gpu", first, "--by", "ann", "--reason", "T-1")
    changed = facts(home, "wallet", "set", "gpu", second, "--by", "bob")
    assert changed["before"] == first
    facts(home, "wallet", "remove", "gpu", "--by", "cy")
    assert facts(home, "wallet", "list") == {}
    told = facts(home, "wallet", "history", "gpu")
    assert [(row["set_by"], row["address"], row["reason"]) for row in told] == [
        ("cy", "", ""),
        ("bob", second, ""),
        ("ann", first, "T-1"),
    ]
    assert tollgate(home, "wallet", "history", "gpu").exit_code == 0


@pytest.mark.parametrize(
    ("address", "problem"),
    [
        ("0xdead", "is no Solana address"),
        ("11111111111111111111111111111111", "is a program"),
        ("TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA", "is a program"),
    ],
)
def test_what_cannot_be_paid_is_no_wallet(home, address, problem):
    result = tollgate(home, "wallet", "set", "gpu", address)
    assert result.exit_code == 1
    assert problem in result.output
    assert facts(home, "wallet", "list") == {}


def test_an_epoch_that_is_not_settled_is_not_paid(home):
    result = tollgate(home, "pay", "--epoch", "2")
    assert result.exit_code == 1
    assert "epoch 2 is not settled yet" in result.output


def test_a_supply_that_is_another_is_told_and_can_be_accepted(home):
    set_wallets(home, SUPPLIERS)
    assert "nothing was paid" in tollgate(home, "chain-check").output
    facts(home, "pay", "--epoch", "1")
    with sqlite3.connect(home / "solana-vm.db") as chain:
        (data,) = chain.execute("SELECT data FROM account WHERE length(data) = 82").fetchone()
        supply = int.from_bytes(data[36:44], "little") + 5
        data = data[:36] + supply.to_bytes(8, "little") + data[44:]
        chain.execute("UPDATE account SET data = ? WHERE length(data) = 82", [data])
    chain.close()
    result = tollgate(home, "chain-check")
    assert result.exit_code == 1
    assert "DIFFERS: supply" in result.stdout
    assert tollgate(home, "chain-check", "--accept", "minted elsewhere").exit_code == 0
    assert facts(home, "chain-check")["agrees"]


def test_a_key_that_others_can_read_is_refused(home):
    key = home / "solana-vm-key.json"
    facts(home, "chain-setup")
    os.chmod(key, 0o640)
    result = tollgate(home, "pay", "--epoch", "1")
    assert result.exit_code == 1
    assert f"chmod 600 {key}" in result.output
    os.chmod(key, 0o600)
    facts(home, "pay", "--epoch", "1")


@pytest.mark.parametrize(
    ("section", "problem"),
    [
        ('url = "http://127.0.0.1:1"', "no mint, no authority_key_file, no io_per_epoch_max"),
        ('mint = "x"', "the embedded chain has its own"),
        ('io_per_epoch_max = "many"', "is no amount of IO"),
        ("nonce_accounts = 99", "nonce_accounts"),
        ('rpc_url = "x"', "unknown field"),
    ],
)
def test_a_configuration_that_cannot_be_is_refused(home, section, problem):
    (home / "tollgate.toml").write_text(f"[solana]\n{section}\n")
    result = tollgate(home, "pay", "--epoch", "1")
    assert result.exit_code == 1
    assert problem in result.output


def test_a_cap_of_the_configuration_holds(home):
    (home / "tollgate.toml").write_text('[solana]\nio_per_epoch_max = "0.00000001"\n')
    result = tollgate(home, "pay", "--epoch", "1")
    assert result.exit_code == 1
    assert "the cap is 1: nothing was sent" in result.output

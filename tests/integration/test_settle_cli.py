from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from gateway.cli import main
from gateway.settlement.settler import LEASE
from metering import accounts
from metering.backend import open_database
from metering.charge import ChargeOutcome, CloseCharge, OpenCharge
from metering.lease import Lease
from metering.ledger import Group, Transfer, TransferKind
from metering.posting import close_group, hold_group
from metering.prices import ModelPrice
from metering.sqlite_ledger import SqliteLedger
from metering.usage import Usage, UsageSource

PRICE = ModelPrice(
    version="1", prompt_nano_usd=200, cached_prompt_nano_usd=200, completion_nano_usd=600
)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    ledger = SqliteLedger(tmp_path / "ledger.db")
    deposit = Transfer(
        id="deposit",
        kind=TransferKind.SINGLE,
        debit=accounts.USD_EXTERNAL,
        credit=accounts.customer("acme"),
        amount=10**10,
        code="deposit",
    )
    ledger.post("test", [Group(transfers=(deposit,))])
    ledger.close()
    return tmp_path


def charge(home: Path, name: str, supplier: str, tokens: int) -> None:
    """`tokens` of prompt and of completion: 800 nano-USD each."""
    opened = OpenCharge(
        charge_id=name,
        request_id=f"r-{name}",
        account="acme",
        key_id="k",
        model="m",
        price=PRICE,
        hold_nano_usd=10**9,
        prompt_tokens_estimate=tokens,
        created_ns=1,
    )
    closed = CloseCharge(
        charge_id=name,
        outcome=ChargeOutcome.COMPLETED,
        node_id="n",
        supplier_id=supplier,
        usage=Usage(prompt_tokens=tokens, completion_tokens=tokens),
        usage_source=UsageSource.NODE,
        closed_ns=2,
        ttft_ns=1,
    )
    ledger = SqliteLedger(home / "ledger.db")
    ledger.post("gateway", [hold_group(opened), close_group(opened, closed)])
    ledger.close()


def tollgate(home: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["settle", *arguments, "--home", str(home)])


def facts(result: Result) -> dict[str, Any]:
    assert result.exit_code == 0, result.output
    printed: dict[str, Any] = json.loads(result.stdout)
    return printed


def stands(home: Path) -> dict[str, Any]:
    """What `settle status` says, but for what o'clock it is."""
    told = facts(tollgate(home, "status", "--json"))
    assert told.pop("lag_s") >= 0
    return told


def test_run_twice_pays_once(home: Path) -> None:
    charge(home, "c1", "sup-a", 100)
    charge(home, "c2", "sup-b", 300)
    first = facts(tollgate(home, "run", "--io-price", "0.16", "--json"))
    assert (first["status"], first["epoch"]) == ("settled", 1)
    report = first["report"]
    assert report["revenue_nano_usd"] == 400 * 800
    assert [row["io_paid"] for row in report["payouts"]] == [35_000, 105_000]
    assert report["buyback_spent_nano_usd"] * 2 >= report["surplus_nano_usd"]
    assert first["supply"]["ok"]
    stands_then = stands(home)
    for arguments in (["--io-price", "0.16"], ["--io-price", "0.2", "--epoch", "1"]):
        again = facts(tollgate(home, "run", *arguments, "--json"))
        assert again["status"] in ("nothing_new", "already_settled")
        assert again["hash"] == first["hash"]
    assert stands(home) == stands_then
    assert facts(tollgate(home, "replay", "--json"))["ok"]


def test_what_it_did_is_said(home: Path) -> None:
    assert "no charge was ever made" in tollgate(home, "run").output
    charge(home, "c1", "sup-a", 100)
    ran = tollgate(home, "run", "--io-price", "0.16")
    assert "Epoch 1 is settled." in ran.output
    assert "Nothing to settle since epoch 1" in tollgate(home, "run").output
    assert "Epoch 1 was settled before" in tollgate(home, "run", "--epoch", "1").output
    shown = tollgate(home, "show").output
    assert shown == ran.output.partition("\n")[2]
    for figure in ("0.00035 IO", "$0.00004", "231,313,672.99965", "1,794", "800,000,000", "sup-a"):
        assert figure in shown
    assert "Replayed 1 epoch:" in tollgate(home, "replay").output


def test_an_empty_epoch_is_explained(home: Path) -> None:
    assert tollgate(home, "run", "--even-if-empty").exit_code == 0
    assert "none" in tollgate(home, "show").output
    shown = facts(tollgate(home, "show", "--json"))
    formulas = {line["label"]: line["formula"] for line in shown["explanation"]}
    assert formulas["psi"] == "revenue / obligation: nothing was owed"
    assert shown["report"]["payouts"] == []


def test_status_counts_what_waits(home: Path) -> None:
    charge(home, "c1", "sup-a", 100)
    waits = facts(tollgate(home, "status", "--json"))
    assert (waits["last_epoch"], waits["supply"]) == (None, None)
    assert (waits["unsettled_charges"], waits["unsettled_revenue_nano_usd"]) == (1, 80_000)
    assert "$0.00008" in tollgate(home, "status").output


def test_parameters_of_the_home(home: Path) -> None:
    (home / "ide.toml").write_text('version = "2"\nusage_share_ppm = 500_000\n')
    charge(home, "c1", "sup-a", 100)
    assert facts(tollgate(home, "params", "--json"))["usage_share_ppm"]["value"] == "500,000"
    report = facts(tollgate(home, "run", "--json"))["report"]
    assert (report["params_version"], report["obligation_nano_usd"]) == ("2", 40_000)
    (home / "ide.toml").write_text("burn_share_ppm = 1\n")
    refused = tollgate(home, "run")
    assert (refused.exit_code, "burn_share_ppm" in refused.output) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["run", "--epoch", "3"], "the next one is 1"),
        (["run", "--io-price", "0,16"], "'0,16' is no amount of USD"),
        (["show"], "no epoch is settled yet"),
        (["show", "--epoch", "4"], "epoch 4 is not settled yet"),
    ],
)
def test_refuses(home: Path, arguments: list[str], says: str) -> None:
    refused = tollgate(home, *arguments)
    assert refused.exit_code in (1, 2)
    assert says in refused.output


def test_a_home_without_a_ledger_is_not_made_one(tmp_path: Path) -> None:
    refused = tollgate(tmp_path, "run")
    assert (refused.exit_code, "tollgate up" in refused.output) == (1, True)
    assert list(tmp_path.iterdir()) == []


def test_a_changed_record_fails_the_replay(home: Path) -> None:
    charge(home, "c1", "sup-a", 100)
    tollgate(home, "run")
    ledger = SqliteLedger(home / "ledger.db")
    ledger._writes.query("DROP TRIGGER epoch_is_final")
    ledger._writes.query("UPDATE epoch SET hash = 'forged'")
    ledger.close()
    replayed = tollgate(home, "replay")
    assert replayed.exit_code == 1
    assert "Epoch 1 does not replay" in replayed.output


def test_a_supplier_gets_a_proof_and_anyone_can_check_it(home: Path, tmp_path: Path) -> None:
    charge(home, "c1", "sup-a", 100)
    charge(home, "c2", "sup-b", 300)
    shown = facts(tollgate(home, "run", "--io-price", "0.16", "--json"))
    file, root = tmp_path / "proof.json", shown["seal"]["root"]
    written = facts(tollgate(home, "proof", "--supplier", "sup-b", "--output", str(file), "--json"))
    assert written == {"epoch": 1, "supplier": "sup-b", "output": str(file)}

    def check(*arguments: str) -> Result:
        return CliRunner().invoke(main, ["settle", "check-proof", str(file), *arguments])

    found = facts(check("--root", root, "--json"))
    assert (found["ok"], found["supplier_id"], found["charges"]) == (True, "sup-b", 1)
    assert found["payout"]["io_paid"] == 105_000
    assert found["head_hash"] == shown["seal"]["hash"]
    said = check()
    assert said.exit_code == 0
    assert "600 tokens of 1 charges" in said.output
    assert "Compare the head" in said.output
    assert "Compare" not in check("--head", found["head_hash"]).output
    assert check("--head", root).exit_code == 1
    refused = check("--root", "00")
    assert (refused.exit_code, "not of the one given" in refused.output) == (1, True)
    file.write_text(file.read_text().replace("105000", "105001"))
    forged = check("--json")
    assert (forged.exit_code, json.loads(forged.stdout)["ok"]) == (1, False)
    nobody = tollgate(home, "proof", "--supplier", "sup-z")
    assert (nobody.exit_code, "nothing to 'sup-z'" in nobody.output) == (1, True)


def test_a_changed_payout_fails_the_replay(home: Path) -> None:
    charge(home, "c1", "sup-a", 100)
    tollgate(home, "run", "--io-price", "0.16")
    ledger = SqliteLedger(home / "ledger.db")
    ledger._writes.query("DROP TRIGGER payout_is_final")
    ledger._writes.query("UPDATE payout SET io_paid = io_paid + 1")
    ledger.close()
    replayed = tollgate(home, "replay")
    assert (replayed.exit_code, "the payouts stored" in replayed.output) == (1, True)


def test_status_says_who_closes_epochs_when_and_how_it_stands(home: Path) -> None:
    empty = facts(tollgate(home, "status", "--json"))
    assert (empty["last_epoch"], empty["leader"], empty["psi_raw_ppm"]) == (None, None, None)
    assert empty["next_close_ns"] % (3_600 * 10**9) == 0
    charge(home, "c1", "sup-a", 100)
    (home / "ide.toml").write_text('usage_share_ppm = 1_000_000\nversion = "dear"\n')
    tollgate(home, "run")
    with contextlib.closing(open_database(home / "ledger.db")) as database:
        held = Lease(
            database, LEASE, "gw-7", lease_s=9, monotonic_ns=lambda: 0, wall_ns=lambda: 10**18
        )
        held.stand()
    charge(home, "c2", "sup-a", 100)
    told = facts(tollgate(home, "status", "--json"))
    assert (told["last_epoch"], told["params_version"], told["leader"]) == (1, "dear", "gw-7")
    assert (told["unsettled_charges"], told["lag_rows"]) == (1, 2 + 2 + 1)
    assert (told["psi_raw_ppm"], told["psi_smoothed_ppm"]) == (1_000_000, 1_000_000)
    assert told["alarms"] == ["no_price"]
    said = tollgate(home, "status").output
    for words in ("gw-7", "no_price", "2001-09-09 01:46:40", "1.000000", "months"):
        assert words in said, said


def test_the_price_is_the_configurations_where_none_is_given(home: Path) -> None:
    charge(home, "c1", "sup-a", 100)
    config = home / "tollgate.toml"
    config.write_text('[settlement]\nio_price_usd = "cheap"\n')
    refused = tollgate(home, "run")
    assert (refused.exit_code, "io_price_usd" in refused.output) == (1, True)
    for name, price in (("a", "0.15"), ("b", "0.17")):
        (home / name).write_text(json.dumps({"usd": price}))
    source = '[[oracle.sources]]\nname = "{0}"\nprice_at = "usd"\nfile = "{1}"\n'
    config.write_text("".join(source.format(name, home / name) for name in ("a", "b")))
    report = facts(tollgate(home, "run", "--json"))["report"]
    assert report["io_price_nano_usd"] == 160_000_000
    config.write_text('[settlement]\nio_price_usd = "0.2"\n')
    charge(home, "c2", "sup-a", 100)
    report = facts(tollgate(home, "run", "--json"))["report"]
    assert report["io_price_nano_usd"] == 200_000_000

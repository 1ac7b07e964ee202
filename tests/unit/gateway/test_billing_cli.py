"""Deposits, refunds and statements on the command line."""

from __future__ import annotations

import json

import pytest
from books import closed, opened, used

from metering.posting import close_group, hold_group
from metering.sqlite_ledger import SqliteLedger


@pytest.fixture
def line(run):
    def invoke(*args):
        code, out, err = run(*args, "--json")
        assert (code, err) == (0, "")
        return json.loads(out)

    return invoke


def test_usdc_costs_its_fee(run, line):
    code, out, _ = run("account", "deposit", "alice", "100", "--method", "usdc", "--id", "tx1")
    assert code == 0
    assert out == (
        "Deposited 100 USD by usdc (deposit 'tx1'), of which 2 are the fee. "
        "'alice' has 98 USD available.\n"
    )
    again = line("account", "deposit", "alice", "100", "--method", "usdc", "--id", "tx1")
    assert (again["result"], again["fee_nano_usd"]) == ("exists", 2_000_000_000)


def test_fees_are_what_the_configuration_says(run, line, tmp_path):
    (tmp_path / "home").mkdir()
    config = tmp_path / "home" / "tollgate.toml"
    model = '[[model]]\nid = "m"\ncontext_tokens_max = 10\nprompt_usd_per_million = "1"\n'
    model += 'completion_usd_per_million = "1"\n'
    config.write_text('[billing]\ncard_fee_percent = "2.9"\ncard_fee_usd = "0.30"\n' + model)
    made = line("account", "deposit", "a", "10", "--method", "card", "--reference", "ch_1")
    assert (made["id"], made["fee_nano_usd"]) == ("ch_1", 590_000_000)
    again = line("account", "deposit", "a", "10", "--method", "card", "--reference", "ch_1")
    assert again["result"] == "exists"
    config.write_text('[billing]\ncard_fee_percent = "two"\n' + model)
    code, _, err = run("account", "deposit", "a", "10", "--method", "card", "--reference", "c2")
    assert (code, "[billing] card_fee_percent: 'two'" in err) == (1, True)


def test_io_is_credited_at_its_price_and_goes_back_as_io(run, line):
    price = ("--io-price", "0.16", "--price-source", "pyth")
    made = line("account", "deposit", "alice", "10", "--method", "io", *price)
    assert (made["amount_usd"], made["io"], made["io_price"]["source"]) == ("1.6", "10", "pyth")
    code, out, _ = run("account", "refund", made["id"], "--id", "r1")
    assert code == 0
    assert "pay 10 IO back by IO. 'alice' has 0 USD available" in out
    assert line("ledger", "verify")["ok"] is True


@pytest.mark.parametrize(
    ("args", "why"),
    [
        (("--method", "io"), "needs the price"),
        (("--method", "io", "--io-price", "1", "--id", "x"), "needs the time of its price"),
        (("--method", "io", "--io-price", "1", "--price-source", "s", "--price-at", "5"), "s old"),
        (("--io-price", "1"), "with --method io only"),
        (("--method", "card"), "processor's reference"),
        (("--method", "cash"), "not one of"),
    ],
)
def test_a_deposit_that_cannot_be_is_refused_in_one_line(run, args, why):
    code, out, err = run("account", "deposit", "alice", "5", *args)
    assert code in (1, 2)
    assert out == ""
    assert why in err.splitlines()[-1]


def test_refunds_are_listed_with_their_deposit(run, line):
    run("account", "deposit", "alice", "100", "--method", "usdc", "--id", "tx1")
    made = line("account", "refund", "tx1", "30", "--id", "r1")
    assert (made["paid_nano_usd"], made["result"]) == (30_000_000_000, "ok")
    assert line("account", "refund", "tx1", "30", "--id", "r1")["result"] == "exists"
    listed = line("account", "deposits", "alice")
    assert listed["refunded_nano_usd"] == 30_000_000_000
    assert [refund["id"] for refund in listed["refunds"]] == ["r1"]
    code, out, _ = run("account", "deposits", "alice")
    assert (code, "tx1" in out) == (0, True)
    code, _, err = run("account", "refund", "tx1", "69")
    assert (code, "at most 68 USD" in err) == (1, True)
    code, _, err = run("account", "refund", "tx2")
    assert (code, "no deposit 'tx2'" in err) == (1, True)


def test_a_statement_as_text_json_and_page(run, line, tmp_path):
    run("account", "deposit", "alice", "5", "--id", "<b>1</b>")
    ledger = SqliteLedger(tmp_path / "home" / "ledger.db")
    opening = opened("c1")
    ledger.post("g", [hold_group(opening), close_group(opening, closed("c1", used(100)))])
    ledger.close()
    shown = line("account", "statement", "alice")
    assert shown["closing_nano_usd"] == 5_000_000_000 - 62_000
    assert (shown["final"], shown["invoice"], shown["usage"][0]["late"]) == (False, None, True)
    code, out, _ = run("account", "statement", "alice")
    assert (code, "balance now" in out, "4.999938" in out) == (0, True, True)
    file = tmp_path / "page.html"
    code, out, _ = run("account", "statement", "alice", "--html", str(file))
    assert (code, out.startswith(f"Wrote {file}")) == (0, True)
    page = file.read_text()
    assert "&lt;b&gt;1&lt;/b&gt;" in page
    assert "4.999938" in page
    for outside in ("http:", "https:", "src=", "url(", "@import", "<script", "<link"):
        assert outside not in page


@pytest.mark.parametrize("command", ["statement", "deposits"])
def test_an_account_that_was_never_opened_has_no_statement_and_no_deposits(run, command):
    run("account", "deposit", "alice", "5")
    code, out, err = run("account", command, "alcie")
    assert (code, out, "there is no account 'alcie'" in err) == (1, "", True)


@pytest.mark.parametrize(
    ("month", "why"), [("2026-13", "write it like 2026-10"), ("2999-01", "has not begun")]
)
def test_a_month_that_cannot_be_is_refused(run, month, why):
    run("account", "deposit", "alice", "5")
    code, _, err = run("account", "statement", "alice", "--month", month)
    assert (code != 0, why in err) == (True, True)

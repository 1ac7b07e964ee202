"""The export holds all of the books, and the checker in the docs finds what was done to it."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from books import closed, deposit, opened, single, used
from click.testing import CliRunner

from gateway.cli import main
from metering.expiry import expire_group
from metering.ledger import EpochRow
from metering.posting import HOLD_NS, close_group, hold_group
from metering.sqlite_ledger import SqliteLedger
from metering.transfer import Group, Transfer, TransferKind

DOCS = Path(__file__).parents[3] / "docs" / "ledger.md"
AWKWARD = 'quote " slash \\ / tab \t bell \x07 delete \x7f umlaut ü line \u2028 sign 😀'


@pytest.fixture
def home(tmp_path):
    """Nine transfers of four writers; the last leaves a hold open."""
    now_ns = [opened("x").created_ns]
    ledger = SqliteLedger(tmp_path / "ledger.db", lambda: now_ns[0])
    ledger.post("cli", [deposit("alice", 10**9)])
    for name, hold, usage in (("c1", 10**6, used(5)), ("c2", 100, used(1)), ("c3", 10**6, None)):
        opening = opened(name, hold=hold)
        ledger.post("g", [hold_group(opening), close_group(opening, closed(name, usage))])
    lost = hold_group(opened("lost"))
    ledger.post("lost", [lost])
    now_ns[0] += HOLD_NS
    ledger.post("expiry", [expire_group(lost.transfers[0])])
    row = EpochRow(
        epoch=1, from_seq=0, to_seq=8, params="{}", inputs="{}", result='{"a":"ü"}', state="{}",
        created_ns=1, hash="ab",
    )  # fmt: skip
    ledger.post_epoch(row, [single("epoch:1", "io:issuance", "io:unemitted", 8)], "ide")
    noted = Transfer(
        id="noted", kind=TransferKind.SINGLE, debit="usd:external", credit="usd:customer:bob",
        amount=1, code="x", detail=AWKWARD,
    )  # fmt: skip
    ledger.post("cli", [Group(transfers=(noted,)), hold_group(opened("open"))])
    ledger.close()
    return tmp_path


@pytest.fixture
def export(home):
    def invoke(*args):
        done = CliRunner().invoke(main, ["ledger", "export", *args, "--home", str(home)])
        assert done.exit_code == 0, done.output
        return done.stdout

    return invoke


@pytest.fixture
def checker(tmp_path):
    (code,) = re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL)
    assert len(code.splitlines()) <= 35
    path = tmp_path / "check.py"
    path.write_text(code)
    return path


def lines(text: str) -> list[str]:
    """Not `splitlines`, which also splits where JSON may not."""
    return text.removesuffix("\n").split("\n") if text else []


def check(checker, transfers: str, accounts: str):
    """Without any of our code in reach."""
    (checker.parent / "t.jsonl").write_text(transfers, encoding="utf-8")
    (checker.parent / "a.jsonl").write_text(accounts, encoding="utf-8")
    return subprocess.run(
        [sys.executable, "-I", "-S", checker.name, "t.jsonl", "a.jsonl"],
        cwd=checker.parent,
        capture_output=True,
        text=True,
        check=False,
        env={},
    )


def test_the_checker_of_the_docs_agrees(export, checker):
    done = check(checker, export("transfers"), export("accounts"))
    assert (done.stderr, done.returncode) == ("", 0)
    assert done.stdout == "right: 13 rows in 5 chains, 1 holds open\n"


@pytest.mark.parametrize(
    ("old", "new", "finding"),
    [
        ('"amount":1000000000', '"amount":1000000001', "row 1: the chain of cli breaks"),
        ('"completion_tokens":5', '"completion_tokens":4', "row 3: the chain of g breaks"),
        ('"seq":4,', '"seq":5,', "row 4 is missing"),
        ("bell", "ball", "row 12: the chain of cli breaks"),
    ],
)
def test_the_checker_of_the_docs_finds_what_was_changed(export, checker, old, new, finding):
    transfers = export("transfers")
    assert transfers.count(old) == 1
    done = check(checker, transfers.replace(old, new), export("accounts"))
    assert finding in done.stderr
    assert done.returncode == 1


def test_the_checker_of_the_docs_finds_a_row_that_is_gone_and_a_forged_balance(export, checker):
    rows, accounts = lines(export("transfers")), export("accounts")
    done = check(checker, "\n".join(rows[:6] + rows[7:]), accounts)
    assert "row 7 is missing" in done.stderr
    done = check(checker, "\n".join(rows[:-1]), accounts)
    assert "account usd:customer:alice: its transfers make another balance" in done.stderr
    forged = accounts.replace('"credits_posted":1}', '"credits_posted":2}')
    assert "account usd:customer:bob" in check(checker, "\n".join(rows), forged).stderr


def test_csv_and_json_say_the_same(export):
    for what in ("charges", "accounts", "epochs"):
        table = list(csv.DictReader(export(what, "--format", "csv").splitlines()))
        objects = [json.loads(line) for line in export(what).splitlines()]
        assert table == [
            {name: "" if value is None else str(value) for name, value in each.items()}
            for each in objects
        ]
        assert table
    table = list(csv.DictReader(io.StringIO(export("transfers", "--format", "csv"))))
    objects = [json.loads(line) for line in lines(export("transfers"))]
    assert [(row["id"], row["hash"], row["detail"]) for row in table[:11]] == [
        (each["transfer"]["id"], each["hash"], each["transfer"]["detail"]) for each in objects[:11]
    ]


def test_a_range_is_of_rows_or_of_time(export):
    def seqs(*args):
        return [json.loads(line)["seq"] for line in lines(export("transfers", *args))]

    assert seqs("--from-seq", "3", "--to-seq", "5") == [3, 4, 5]
    assert seqs("--from-seq", "99") == []
    assert seqs("--since", "2023-11-15") == [10, 11, 12, 13]
    assert seqs("--until", "2023-11-15T00:00:00+00:00") == list(range(1, 10))
    assert seqs("--since", "2023-11-15", "--to-seq", "11") == [10, 11]
    assert [json.loads(line)["seq"] for line in export("charges", "--from-seq", "4").splitlines()
            ] == [5, 8]  # fmt: skip


def test_a_file_is_written_whole(export, home, tmp_path):
    path = tmp_path / "out" / "books.jsonl"
    path.parent.mkdir()
    assert export("transfers", "--output", str(path)) == f"Wrote 13 transfers to {path}.\n"
    assert path.read_text(encoding="utf-8") == export("transfers")
    told = json.loads(export("charges", "--output", str(path), "--format", "csv", "--json"))
    assert told == {"what": "charges", "format": "csv", "rows": 3, "file": str(path)}
    assert len(path.read_text().splitlines()) == 4
    assert os.listdir(path.parent) == ["books.jsonl"]


def test_a_file_that_cannot_be_written_whole_stays_as_it_was(home, tmp_path, monkeypatch):
    path = tmp_path / "out" / "books.jsonl"
    path.parent.mkdir()
    path.write_text("from before")

    def full(file):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("gateway.cli.ledger_export.os.fsync", full)
    args = ["ledger", "export", "transfers", "--output", str(path), "--home", str(home)]
    done = CliRunner().invoke(main, args)
    assert done.exit_code == 1
    assert done.stderr == f"Error: {path} was not written: No space left on device\n"
    assert path.read_text() == "from before"
    assert os.listdir(path.parent) == ["books.jsonl"]


def test_a_reader_may_have_enough(home):
    command = f"{sys.executable} -m gateway ledger export transfers --home {home} | head -1"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, check=False
    )
    assert json.loads(done.stdout)["seq"] == 1
    assert done.stderr == ""

"""What is due on chain is what was sealed, or nothing."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from chain_world import settled_books

from ide.chain.chain import ChainError
from ide.chain.due import due_of
from metering.accounts import Asset, supplier
from metering.sqlite_ledger import SqliteLedger

SUPPLIERS = 5


def test_due_is_what_the_ledger_paid(tmp_path: Path) -> None:
    settled_books(tmp_path / "ledger.db", SUPPLIERS)
    with contextlib.closing(SqliteLedger(tmp_path / "ledger.db")) as ledger:
        due = due_of(ledger, 1)
        assert due.payouts == {
            name: ledger.balance(supplier(Asset.IO, name)).posted
            for name in (f"s{number:05}" for number in range(SUPPLIERS))
        }
        with pytest.raises(ChainError, match="not settled"):
            due_of(ledger, 2)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE payout SET text = replace(text, 's00001', 's00009') WHERE leaf = 1",
        "UPDATE payout SET leaf = leaf + 9 WHERE leaf = 0",
        "UPDATE epoch_seal SET head = replace(head, '\"io_burned\":', '\"io_burned\":1')",
    ],
)
def test_payouts_that_were_changed_after_the_seal_are_not_due(tmp_path: Path, change: str) -> None:
    """None of them changes what the payouts add up to."""
    settled_books(tmp_path / "ledger.db", SUPPLIERS)
    with contextlib.closing(SqliteLedger(tmp_path / "ledger.db")) as ledger:
        ledger._writes.query("DROP TRIGGER payout_is_final")
        ledger._writes.query("DROP TRIGGER epoch_seal_is_final")
        ledger._writes.query(change)
        with pytest.raises(ChainError, match="not those that were sealed"):
            due_of(ledger, 1)


def test_a_sum_written_beside_the_sealed_text_pays_nobody(tmp_path: Path) -> None:
    settled_books(tmp_path / "ledger.db", SUPPLIERS)
    with contextlib.closing(SqliteLedger(tmp_path / "ledger.db")) as ledger:
        before = due_of(ledger, 1).payouts
        ledger._writes.query("DROP TRIGGER payout_is_final")
        ledger._writes.query("UPDATE payout SET io_paid = io_paid + 1 WHERE leaf = 1")
        ledger._writes.query("UPDATE payout SET io_paid = io_paid - 1 WHERE leaf = 2")
        assert due_of(ledger, 1).payouts == before

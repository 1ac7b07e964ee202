"""A settlement killed before any of its statements leaves the books as they were."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from ide.params import IdeParams
from ide.replay import replay
from ide.settlement import SettlementStatus, settle, stored_result
from metering import accounts
from metering.accounts import Asset
from metering.charge import ChargeOutcome, CloseCharge, OpenCharge
from metering.ledger import Group, Transfer, TransferKind
from metering.posting import close_group, hold_group
from metering.prices import ModelPrice
from metering.sqlite_ledger import SqliteLedger
from metering.usage import Usage, UsageSource

STATEMENTS_MAX = 100

KILLED_AT = """
import os, signal, sys
from pathlib import Path
from ide.params import IdeParams
from ide.settlement import settle
from metering.sqlite_ledger import SqliteLedger

ledger, left = SqliteLedger(Path(sys.argv[1])), int(sys.argv[2])

def count(statement):
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)

ledger._writes._db.set_trace_callback(count)
settle(ledger, IdeParams(), io_price_nano_usd=160_000_000, now_ns=1)
"""


def charged_ledger(path: Path) -> None:
    ledger = SqliteLedger(path)
    deposit = Transfer(
        id="deposit",
        kind=TransferKind.SINGLE,
        debit=accounts.USD_EXTERNAL,
        credit=accounts.customer("acme"),
        amount=10**9,
        code="deposit",
    )
    opened = OpenCharge(
        charge_id="c",
        request_id="r",
        account="acme",
        key_id="k",
        model="m",
        price=ModelPrice(
            version="1", prompt_nano_usd=200, cached_prompt_nano_usd=200, completion_nano_usd=900
        ),
        hold_nano_usd=10**6,
        prompt_tokens_estimate=100,
        created_ns=1,
    )
    closed = CloseCharge(
        charge_id="c",
        outcome=ChargeOutcome.COMPLETED,
        node_id="n",
        supplier_id="sup-a",
        usage=Usage(prompt_tokens=100, completion_tokens=100),
        usage_source=UsageSource.NODE,
        closed_ns=2,
        ttft_ns=1,
    )
    groups = [Group(transfers=(deposit,)), hold_group(opened), close_group(opened, closed)]
    assert all(answer.booked for answer in ledger.post("test", groups))
    ledger.close()


def settled_by_child(path: Path, killed_at_statement: int) -> bool:
    child = subprocess.run(
        [sys.executable, "-c", KILLED_AT, str(path), str(killed_at_statement)],
        cwd=Path(__file__).parents[2],
        timeout=60,
        check=False,
    )
    assert child.returncode in (0, -signal.SIGKILL)
    return child.returncode == 0


def test_killed_at_any_statement_nothing_is_half_done(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    charged_ledger(path)
    for statement in range(1, STATEMENTS_MAX):
        done = settled_by_child(path, statement)
        ledger = SqliteLedger(path)
        assert ledger.verify().ok
        booked = len(list(ledger.epochs()))
        paid = ledger.balance(accounts.supplier(Asset.IO, "sup-a")).posted
        burned = ledger.balance(accounts.IO_BURNED).posted
        assert (booked, paid, burned) == ((1, 48_125, 34_375) if booked else (0, 0, 0))
        assert booked or not done
        if booked:
            break
        ledger.close()
    else:
        raise AssertionError(f"not settled after {STATEMENTS_MAX} statements")
    again = settle(ledger, IdeParams(), io_price_nano_usd=1, now_ns=2, epoch=1)
    assert again.status is SettlementStatus.ALREADY_SETTLED
    assert again.row is not None
    assert stored_result(again.row).report.io_burned == burned
    assert replay(ledger).ok
    assert statement > 10, "killed at too few points to prove anything"
    ledger.close()

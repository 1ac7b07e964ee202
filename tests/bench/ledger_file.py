"""Books of any size, made fast: what a gateway would have booked, written past its caution.

No fsync, and the indexes of the transfers when all rows are there. `ledger verify` agrees with it.
"""

from __future__ import annotations

import contextlib
import itertools
import random
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

from metering import chain
from metering.batch import charge_values, transfer_values
from metering.charge import ChargeOutcome, ChargeRecord
from metering.expiry import expiry_detail
from metering.posting import HOLD_NS, deposit_group
from metering.sqlite_file import insert_rows
from metering.sqlite_ledger import SqliteLedger
from metering.transfer import Transfer, TransferKind
from metering.usage import UsageSource

CUSTOMERS = 1000
KEYS_OF_EACH = 3
BIG_SHARE = 0.1
"""The part of all charges that the first customer has."""
SPACING_NS = 250_000_000
"""From one charge to the next: five million take two weeks."""
START_NS = 1_700_000_000_000_000_000
HOLD_NANO_USD = 300_000
COST_NANO_USD = 98_000
MODELS = ("qwen", "llama")

_WRITER = "gateway-bench"
_DEPOSIT = 10**15
_BATCH = 2000


def customer_of(index: int) -> str:
    return f"customer-{index:04}"


def make(path: Path, transfers: int, tell: Callable[[int], None] = lambda done: None) -> None:
    """A ledger of this many transfers: a deposit for each customer, then holds and their posts."""
    ledger = SqliteLedger(path, lambda: START_NS)
    ledger.post("cli", [deposit_group(f"{i}", customer_of(i), _DEPOSIT) for i in range(CUSTOMERS)])
    first_seq = ledger.last_seq() + 1
    ledger.close()
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA synchronous = OFF")
        db.execute("PRAGMA cache_size = -1000000")
        db.execute("BEGIN IMMEDIATE")
        indexes = db.execute(
            "SELECT name, sql FROM sqlite_schema WHERE type = 'index' AND sql NOT NULL"
            " AND tbl_name IN ('transfer', 'charge')"
        ).fetchall()
        for name, _ in indexes:
            db.execute(f"DROP INDEX {name}")
        _write(db, first_seq, (transfers - first_seq + 1) // 2, tell)
        for _, sql in indexes:
            db.execute(sql)
        db.execute("COMMIT")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _write(
    db: sqlite3.Connection, first_seq: int, charges: int, tell: Callable[[int], None]
) -> None:
    link, paid = chain.GENESIS, dict.fromkeys(range(CUSTOMERS), 0)
    made = _charges(first_seq, charges)
    done = 0
    while batch := list(itertools.islice(made, _BATCH)):
        transfers: list[object] = []
        records: list[object] = []
        for customer, hold, post, charge in batch:
            seq = first_seq + 2 * done
            now_ns = charge.closed_ns
            paid[customer] += post.amount
            for transfer, settles in ((hold, None), (post, charge)):
                link = chain.link(link, seq, now_ns, transfer, settles)
                transfers.append(seq)
                transfers += transfer_values(transfer)
                transfers += (now_ns, _WRITER, bytearray(link))
                seq += 1
            records.append(seq - 1)
            records += charge_values(charge)
            done += 1
        insert_rows(db, "transfer", 12, transfers)
        insert_rows(db, "charge", 20, records)
        tell(2 * done)
    db.execute("INSERT INTO writer VALUES (?, ?, ?, ?)", (_WRITER, 2 * charges, 2 * charges, link))
    db.execute("INSERT INTO account VALUES ('usd:fee_vault', 0, 0, 0, ?)", (sum(paid.values()),))
    db.executemany(
        "UPDATE account SET debits_posted = ? WHERE id = ?",
        [(amount, f"usd:customer:{customer_of(i)}") for i, amount in paid.items()],
    )


def _charges(first_seq: int, count: int) -> Iterator[tuple[int, Transfer, Transfer, ChargeRecord]]:
    rng = random.Random(first_seq)
    for i in range(count):
        customer = 0 if rng.random() < BIG_SHARE else rng.randrange(CUSTOMERS)
        account = customer_of(customer)
        debit = f"usd:customer:{account}"
        now_ns = START_NS + i * SPACING_NS
        charge_id = f"{now_ns // 1_000_000:012x}{rng.getrandbits(80):020x}"
        cost = COST_NANO_USD + i % 1000
        hold = Transfer(
            id=f"{charge_id}:hold", kind=TransferKind.PENDING, debit=debit,
            credit="usd:fee_vault", amount=HOLD_NANO_USD, code="hold",
            detail=expiry_detail(now_ns + HOLD_NS),
        )  # fmt: skip
        post = Transfer(
            id=f"{charge_id}:charge", kind=TransferKind.POST, debit=debit,
            credit="usd:fee_vault", amount=cost, code="charge", pending_id=hold.id,
        )  # fmt: skip
        charge = ChargeRecord(
            charge_id=charge_id, request_id=f"req_{charge_id}", account=account,
            key_id=f"key-{customer}-{i % KEYS_OF_EACH}", model=MODELS[i % len(MODELS)],
            node_id=f"node-{i % 8}", supplier_id=f"supplier-{i % 8}", prompt_tokens=20,
            cached_tokens=0, completion_tokens=140, reasoning_tokens=0,
            usage_source=UsageSource.NODE, price_version="v1", cost_nano_usd=cost,
            charged_nano_usd=cost, outcome=ChargeOutcome.COMPLETED, created_ns=now_ns,
            closed_ns=now_ns + 2_000_000_000, ttft_ns=5_000_000,
        )  # fmt: skip
        yield customer, hold, post, charge

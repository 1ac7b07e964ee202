"""Books of any size, made fast: what a gateway would have booked, written past its caution.

In one go, and the indexes of the transfers when all rows are there. `ledger verify` agrees with it.
"""

from __future__ import annotations

import contextlib
import itertools
import random
from collections.abc import Callable, Iterator
from pathlib import Path

from metering import chain
from metering.backend import open_database, open_ledger
from metering.batch import charge_values, transfer_values
from metering.charge import ChargeOutcome, ChargeRecord
from metering.database import Session
from metering.expiry import expiry_detail
from metering.posting import HOLD_NS, deposit_group
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


def make(
    where: Path | str,
    transfers: int,
    tell: Callable[[int], None] = lambda done: None,
    *,
    suppliers: int = 8,
) -> None:
    """A ledger of this many transfers: a deposit for each customer, then holds and their posts."""
    with contextlib.closing(open_ledger(where, lambda: START_NS)) as ledger:
        deposits = [deposit_group(f"{i}", customer_of(i), _DEPOSIT) for i in range(CUSTOMERS)]
        ledger.post("cli", deposits)
        first_seq = ledger.last_seq() + 1
    charges = _charges(first_seq, (transfers - first_seq + 1) // 2, suppliers)
    in_file = isinstance(where, Path)
    with contextlib.closing(open_database(where)) as database:
        if in_file:
            database.query("PRAGMA synchronous = OFF")
            database.query("PRAGMA cache_size = -1000000")
        with database.transaction() as session:
            indexes = session.query(_INDEXES_IN_FILE if in_file else _INDEXES_ON_SERVER)
            for name, _ in indexes:
                session.query(f"DROP INDEX {name}")
            _write(session, first_seq, charges, tell)
            for _, sql in indexes:
                session.query(sql)
        database.query("PRAGMA wal_checkpoint(TRUNCATE)" if in_file else "ANALYZE")


_INDEXES_IN_FILE = (
    "SELECT name, sql FROM sqlite_schema WHERE type = 'index' AND sql NOT NULL"
    " AND tbl_name IN ('transfer', 'charge')"
)
_INDEXES_ON_SERVER = (
    "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = current_schema()"
    " AND tablename IN ('transfer', 'charge')"
    " AND indexname NOT IN (SELECT conname FROM pg_constraint)"
)


Charge = tuple[int, Transfer, Transfer, ChargeRecord]


def _write(
    db: Session, first_seq: int, made: Iterator[Charge], tell: Callable[[int], None]
) -> None:
    link, paid = chain.GENESIS, dict.fromkeys(range(CUSTOMERS), 0)
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
        db.insert("transfer", 12, transfers)
        db.insert("charge", 20, records)
        tell(2 * done)
    rows = 2 * done
    db.query("INSERT INTO writer VALUES (?, ?, ?, ?)", _WRITER, rows, rows, link)
    db.query("INSERT INTO account VALUES ('usd:fee_vault', 0, 0, 0, ?)", sum(paid.values()))
    for i, amount in paid.items():
        account = f"usd:customer:{customer_of(i)}"
        db.query("UPDATE account SET debits_posted = ? WHERE id = ?", amount, account)


def _charges(first_seq: int, count: int, suppliers: int) -> Iterator[Charge]:
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
            node_id=f"node-{i % suppliers}", supplier_id=f"supplier-{i % suppliers}",
            prompt_tokens=20, cached_tokens=0, completion_tokens=140, reasoning_tokens=0,
            usage_source=UsageSource.NODE, price_version="v1", cost_nano_usd=cost,
            charged_nano_usd=cost, outcome=ChargeOutcome.COMPLETED, created_ns=now_ns,
            closed_ns=now_ns + 2_000_000_000, ttft_ns=5_000_000,
        )  # fmt: skip
        yield customer, hold, post, charge

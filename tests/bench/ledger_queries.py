"""How long the questions take that a gateway and its customers ask the books, however large."""

from __future__ import annotations

import contextlib
import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from metering.accounts import customer
from metering.backend import open_database, open_ledger
from metering.ledger import Ledger
from metering.usage_hours import sum_up
from metering.usage_store import GroupBy, UsageFilter, UsageStore

from .ledger_file import CUSTOMERS, SPACING_NS, START_NS, customer_of

BIG, TYPICAL = customer_of(0), customer_of(CUSTOMERS // 2)
"""The first has a tenth of all charges, the others share the rest."""

_DAY_NS = 86_400_000_000_000


class Query(msgspec.Struct, frozen=True):
    name: str
    p50_s: float


def ask(where: Path | str, transfers: int, repeats: int) -> list[Query]:
    """Of the books that `ledger_file.make` made, their usage summed as a gateway keeps it."""
    with (
        contextlib.closing(open_ledger(where)) as ledger,
        contextlib.closing(open_database(where)) as database,
    ):
        sum_up(database)
        asked = _questions(ledger, UsageStore(database), START_NS + transfers // 2 * SPACING_NS)
        return [Query(name, _median(question, repeats)) for name, question in asked.items()]


def _questions(ledger: Ledger, usage: UsageStore, end_ns: int) -> dict[str, Callable[[], object]]:
    rng = random.Random(1)

    def period(account: str, days: int) -> UsageFilter:
        return UsageFilter(account=account, from_ns=end_ns - days * _DAY_NS + 1, until_ns=end_ns)

    asked: dict[str, Callable[[], object]] = {
        "balance": lambda: ledger.balance(customer(customer_of(rng.randrange(CUSTOMERS)))),
        "balances of 256 accounts": lambda: ledger.balances(
            [customer(customer_of(rng.randrange(CUSTOMERS))) for _ in range(256)]
        ),
        "newest 20 charges": lambda: list(ledger.charges(BIG, limit=20, newest_first=True)),
    }
    for name, account in (("typical account", TYPICAL), ("large account", BIG)):
        month, day = period(account, 30), period(account, 1)
        asked |= {
            f"usage of a month, {name}": lambda month=month: usage.total(month),
            f"the same by day and model, {name}": lambda month=month: usage.rows(
                month, [GroupBy.DAY, GroupBy.MODEL], limit=101
            ),
            f"usage of a key, {name}": lambda month=month: usage.total(
                msgspec.structs.replace(month, key_id=f"key-{int(month.account[-4:])}-0")
            ),
            f"100 charges of a day, {name}": lambda day=day: usage.charges(
                day, after=None, limit=100
            ),
        }
    return asked


def _median(question: Callable[[], object], repeats: int) -> float:
    times = []
    for _ in range(repeats):
        begun = time.perf_counter()
        question()
        times.append(time.perf_counter() - begun)
    return statistics.median(times)

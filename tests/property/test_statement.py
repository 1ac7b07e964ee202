"""Any life of two accounts over some months: each statement closes, and they follow each other."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path

import msgspec
from books import closed, opened, single, used
from hypothesis import given, settings
from hypothesis import strategies as st

from metering.accounts import USD_SLA, customer
from metering.backend import open_database
from metering.deposit import DepositError, DepositMethod, DepositOrder, Fee
from metering.deposit_book import DepositBook
from metering.month import DAY_NS, Month
from metering.posting import close_group, hold_group, whole_group
from metering.refund import RefundOrder
from metering.sqlite_ledger import SqliteLedger
from metering.statement_book import StatementBook

FIRST = Month(2026, 10)
MONTHS = (
    FIRST.before,
    *(Month(2026, 10 + n) for n in range(3)),
    *(Month(2027, n) for n in range(1, 7)),
)
NAMES = ("alice", "bob")

deeds = st.sampled_from(("deposit", "refund", "charge", "whole", "hold", "line", "credit", "look"))
steps = st.tuples(
    deeds,
    st.sampled_from(NAMES),
    st.integers(1, 5_000),
    st.integers(-2, 9).map(lambda days: days * DAY_NS),  # the clock may be set back
)


class Life:
    def __init__(self, folder: Path) -> None:
        self.now_ns = FIRST.start_ns
        self.ledger = SqliteLedger(folder / "ledger.db", lambda: self.now_ns)
        self.ledger._writer.execute("PRAGMA synchronous = OFF")
        self.database = open_database(folder / "ledger.db")
        self.deposits = DepositBook(self.ledger, self.database, "test", lambda: None)
        self.book = StatementBook(self.database)
        self.issued: dict[tuple[str, str], object] = {}
        self.count = 0

    def do(self, deed: str, account: str, amount: int) -> None:
        self.count += 1
        name = f"n{self.count}"
        if deed == "deposit":
            order = DepositOrder(
                deposit_id=name,
                account=account,
                method=DepositMethod.USDC,
                nano_usd=amount * 1_000_000,
            )
            self.deposits.deposit(order, Fee(ppm=amount))
        elif deed == "refund":
            self._refund(account, name, amount)
        elif deed in ("charge", "whole", "hold"):
            self._charge(deed, account, name, amount)
        elif deed in ("line", "credit"):
            source = f"usd:credit_line:{account}" if deed == "line" else USD_SLA  # by hand
            self.ledger.post("t", [single(name, source, customer(account), amount)])
        else:
            self.look()

    def _refund(self, account: str, name: str, amount: int) -> None:
        for booked in self.deposits.deposits(account, limit=1):
            order = RefundOrder(refund_id=name, nano_usd=amount * 1_000)
            with contextlib.suppress(DepositError):
                self.deposits.refund(booked.deposit.deposit_id, order, returns_fee=amount % 2 == 0)

    def _charge(self, deed: str, account: str, name: str, amount: int) -> None:
        opening = opened(name, account=account, hold=amount * 500)
        closing = closed(name, used(amount) if amount % 5 else None)
        closing = msgspec.structs.replace(closing, closed_ns=self.now_ns - amount)
        groups = {
            "hold": [hold_group(opening)],
            "charge": [hold_group(opening), close_group(opening, closing)],
            "whole": [whole_group(opening, closing)],
        }
        self.ledger.post("g", groups[deed])

    def look(self) -> None:
        """Every statement there can be closes, goes on from the one before, and stays as it was."""
        for account in NAMES:
            closing = 0
            for month in MONTHS:
                if month.start_ns > self.now_ns:
                    break
                made = self.book.statement(account, month, self.now_ns)
                assert made.opening_nano_usd == closing
                moved = sum(entry.nano_usd for entry in made.entries)
                closing += moved - sum(line.charged_nano_usd for line in made.usage)
                assert made.closing_nano_usd == closing
                assert closing >= 0
                if made.final:
                    assert self.issued.setdefault((account, str(month)), made) == made
            else:
                assert closing == self.ledger.balance(customer(account)).posted

    def close(self) -> None:
        self.database.close()
        self.ledger.close()


@settings(deadline=None)
@given(st.lists(steps, max_size=25))
def test_statements_close_follow_each_other_and_stay(life):
    with (
        tempfile.TemporaryDirectory() as folder,
        contextlib.closing(Life(Path(folder))) as world,
    ):
        for deed, account, amount, later_ns in life:
            world.now_ns = max(FIRST.start_ns, world.now_ns + later_ns)
            world.do(deed, account, amount)
        world.look()
        world.now_ns = MONTHS[-1].end_ns - 1  # far behind the longest life
        world.look()
        numbers = sorted(made.invoice for made in world.issued.values() if made.invoice is not None)
        assert numbers == [f"TG-{number:06}" for number in range(1, len(numbers) + 1)]
        assert world.ledger.verify().ok

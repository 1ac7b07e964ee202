"""Deposits and refunds in the books: once by their ids, together never more than there was."""

from __future__ import annotations

import contextlib
import threading

import pytest
from books import deposit as plain_deposit
from books import single

from ide.params import IdeParams
from ide.settlement import open_supply, settle
from metering.accounts import IO_TREASURY, USD_FEE_VAULT, credit_line, customer
from metering.backend import open_database, open_ledger
from metering.deposit import (
    ConflictError,
    DepositError,
    DepositMethod,
    DepositOrder,
    Fee,
    IoPrice,
    UnknownDepositError,
)
from metering.deposit_book import DepositBook
from metering.money import IO_UNIT, USD_UNIT
from metering.refund import RefundOrder
from metering.transfer import PostResult

ALICE = customer("alice")
TWO_PERCENT = Fee(ppm=20_000)
PRICE = IoPrice(nano_usd=160_000_000, source="pyth", at_ns=1)


@pytest.fixture
def ledger(where):
    with contextlib.closing(open_ledger(where)) as made:
        yield made


@pytest.fixture
def book(where, ledger):
    with contextlib.closing(open_database(where)) as database:
        yield DepositBook(ledger, database, "test", lambda: open_supply(ledger, IdeParams()))


def ordered(deposit_id="d1", method=DepositMethod.USDC, **fields):
    fields = {"account": "alice", "nano_usd": 100 * USD_UNIT} | fields
    return DepositOrder(deposit_id=deposit_id, method=method, **fields)


def in_io(deposit_id="i1", **fields):
    fields = {"nano_usd": 0, "io": 10 * IO_UNIT, "io_price": PRICE} | fields
    return ordered(deposit_id, DepositMethod.IO, **fields)


def back(refund_id="r1", usd=None, **fields):
    nano_usd = None if usd is None else usd * USD_UNIT
    return RefundOrder(refund_id=refund_id, nano_usd=nano_usd, **fields)


def test_a_deposit_is_made_once_whatever_fees_are_later(book, ledger):
    made, is_new = book.deposit(ordered(), TWO_PERCENT)
    assert is_new
    assert made.deposit.fee_nano_usd == 2 * USD_UNIT
    assert book.deposit(ordered(), Fee(ppm=50_000)) == (made, False)
    assert ledger.balance(ALICE).available == 98 * USD_UNIT


@pytest.mark.parametrize(
    ("other", "what"),
    [
        (ordered(nano_usd=USD_UNIT), "another amount"),
        (ordered(account="bob"), "another account"),
        (ordered(reference="tx"), "another reference"),
        (ordered(method=DepositMethod.MANUAL), "another method"),
        (in_io("d1"), "another method"),
    ],
)
def test_an_id_stands_for_one_deposit(book, ledger, other, what):
    book.deposit(ordered(), TWO_PERCENT)
    rows = ledger.last_seq()
    with pytest.raises(ConflictError, match=what):
        book.deposit(other, Fee())
    with pytest.raises(UnknownDepositError):
        book.get("d2")
    assert ledger.balance(customer("bob")).posted == 0
    assert ledger.last_seq() - rows == 0


def test_io_of_a_deposit_is_the_treasurys_and_epochs_go_on(book, ledger):
    made, _ = book.deposit(in_io(), Fee())
    assert made.deposit.nano_usd == 1_600_000_000
    assert ledger.balance(IO_TREASURY).posted == 10 * IO_UNIT
    again = IoPrice(nano_usd=170_000_000, source="pyth", at_ns=1)
    with pytest.raises(ConflictError, match="another price"):
        book.deposit(in_io(io_price=again), Fee())
    assert settle(ledger, IdeParams(), io_price_nano_usd=None, now_ns=1, even_if_empty=True).row
    assert ledger.verify().ok


def test_nobody_can_have_paid_io_that_does_not_circulate(book, ledger):
    with pytest.raises(DepositError, match="more than circulate"):
        book.deposit(in_io(io=6 * 10**16), Fee())
    assert ledger.balance(ALICE).posted == 0


def test_refunds_are_linked_to_their_deposit_and_made_once(book, ledger):
    book.deposit(ordered(), TWO_PERCENT)
    first, is_new = book.refund("d1", back("r1", 30), returns_fee=False)
    assert is_new
    assert (first.number, first.paid_nano_usd) == (1, 30 * USD_UNIT)
    assert book.refund("d1", back("r1", 30), returns_fee=True) == (first, False)
    with pytest.raises(ConflictError, match="another amount"):
        book.refund("d1", back("r1", 31), returns_fee=False)
    rest, _ = book.refund("d1", back("r2"), returns_fee=True)
    assert rest.nano_usd == 68 * USD_UNIT
    assert rest.fee_back_nano_usd == 1_387_756_000  # 2 less floor(2 * 30/98), in whole micro-USD
    assert book.get("d1").refunds == (first, rest)
    assert ledger.balance(ALICE).posted == 0
    with pytest.raises(DepositError, match="at most 0 USD"):
        book.refund("d1", back("r3"), returns_fee=False)
    with pytest.raises(UnknownDepositError):
        book.refund("d2", back("r1"), returns_fee=False)


def test_a_refund_in_io_gives_back_the_very_io(book, ledger):
    book.deposit(in_io(), Fee())
    part, _ = book.refund("i1", back("r1", 1), returns_fee=False)
    assert (part.io, part.paid_nano_usd) == (625_000_000, 0)
    book.refund("i1", back("r2"), returns_fee=False)
    assert ledger.balance(IO_TREASURY).posted == 0
    assert ledger.balance(ALICE).posted == 0


def test_a_refund_stops_at_what_is_available(book, ledger):
    book.deposit(ordered(), Fee())
    ledger.post("t", [single("spent", ALICE, USD_FEE_VAULT, 60 * USD_UNIT)])
    with pytest.raises(DepositError, match="at most 40 USD"):
        book.refund("d1", back("r1", 41), returns_fee=False)
    assert book.refundable_nano_usd(book.get("d1")) == 40 * USD_UNIT


def test_a_credit_line_cannot_be_refunded(book, ledger):
    book.deposit(ordered(), Fee())
    ledger.post("t", [single("line", credit_line("alice"), ALICE, 50 * USD_UNIT)])
    ledger.post("t", [single("spent", ALICE, USD_FEE_VAULT, 120 * USD_UNIT)])
    assert ledger.balance(ALICE).available == 30 * USD_UNIT
    with pytest.raises(DepositError, match="at most 0 USD"):
        book.refund("d1", back("r1", 1), returns_fee=False)


def test_io_that_was_burned_cannot_be_given_back(book, ledger):
    book.deposit(in_io(), Fee())
    ledger.post("t", [single("burn", IO_TREASURY, "io:burned", IO_UNIT)])
    with pytest.raises(DepositError, match="treasury has not enough IO"):
        book.refund("i1", back("r1"), returns_fee=False)
    assert ledger.balance(ALICE).available == 1_600_000_000


def test_many_refunds_at_once_come_to_the_deposit_and_no_more(book, ledger):
    book.deposit(ordered(), Fee())
    book.deposit(ordered("d2"), Fee())  # so that the balance alone would allow more
    outcomes = []

    def ask(number):
        try:
            book.refund("d1", back(f"r{number % 12}", 10), returns_fee=False)
            outcomes.append(True)
        except DepositError:
            outcomes.append(False)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    refunds = book.get("d1").refunds
    assert len(outcomes) == 16
    assert sum(refund.nano_usd for refund in refunds) == 100 * USD_UNIT
    assert [refund.number for refund in refunds] == list(range(1, 11))
    assert len({refund.refund_id for refund in refunds}) == 10
    assert ledger.balance(ALICE).posted == 100 * USD_UNIT


def test_deposits_are_listed_newest_first_page_by_page(book, ledger):
    for number in range(5):
        book.deposit(ordered(f"d{number}", nano_usd=(number + 1) * USD_UNIT), TWO_PERCENT)
    book.deposit(ordered("b", account="bob"), Fee())
    assert ledger.post("t", [plain_deposit("alice", 5)]) == [PostResult.OK]
    first = book.deposits("alice", limit=3)
    rest = book.deposits("alice", limit=9, before_seq=first[-1].seq)
    assert [booked.deposit.deposit_id for booked in first + rest] == ["d4", "d3", "d2", "d1", "d0"]

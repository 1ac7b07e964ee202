"""Statements against the ledger: they close to the nano-dollar, and never change once issued."""

from __future__ import annotations

import contextlib

import msgspec
import pytest
from books import closed, opened, single, used

from metering.accounts import credit_line, customer
from metering.backend import open_database, open_ledger
from metering.deposit import DepositMethod, DepositOrder, Fee
from metering.deposit_book import DepositBook
from metering.ledger import Transfer, TransferKind
from metering.money import USD_UNIT
from metering.month import Month, MonthError
from metering.posting import close_group, deposit_group, hold_group, whole_group
from metering.refund import RefundOrder
from metering.statement import EntryKind, StatementError
from metering.statement_book import StatementBook
from metering.transfer import Group

OCTOBER, NOVEMBER, DECEMBER = Month(2026, 10), Month(2026, 11), Month(2026, 12)
HOUR_NS = 3_600_000_000_000
ALICE = customer("alice")


class Clock:
    def __init__(self):
        self.now_ns = OCTOBER.start_ns + HOUR_NS

    def __call__(self):
        return self.now_ns


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def ledger(where, clock):
    with contextlib.closing(open_ledger(where, clock)) as made:
        yield made


@pytest.fixture
def database(where, ledger):
    with contextlib.closing(open_database(where)) as made:
        yield made


@pytest.fixture
def book(database):
    return StatementBook(database)


@pytest.fixture
def deposits(ledger, database):
    return DepositBook(ledger, database, "test", lambda: None)


def paid(deposits, name="d1", usd=100, fee_ppm=20_000, account="alice"):
    order = DepositOrder(
        deposit_id=name, account=account, method=DepositMethod.USDC, nano_usd=usd * USD_UNIT
    )
    deposits.deposit(order, Fee(ppm=fee_ppm))


def served(ledger, clock, name, tokens=100, account="alice", closed_ns=None):
    opening = opened(name, account=account)
    closing = msgspec.structs.replace(
        closed(name, used(tokens)), closed_ns=closed_ns or clock.now_ns
    )
    results = ledger.post("g", [hold_group(opening), close_group(opening, closing)])
    assert all(result.booked for result in results)


def test_a_month_adds_up_and_the_next_begins_where_it_ended(book, ledger, clock, deposits):
    paid(deposits)
    served(ledger, clock, "c1")
    served(ledger, clock, "c2", tokens=50)
    clock.now_ns = OCTOBER.end_ns - HOUR_NS
    deposits.refund("d1", RefundOrder(refund_id="r1", nano_usd=USD_UNIT), returns_fee=False)
    clock.now_ns = NOVEMBER.start_ns + HOUR_NS
    served(ledger, clock, "c3")
    october = book.statement("alice", OCTOBER, clock.now_ns)
    cost = 2 * 10 * 200 + 150 * 600
    assert october.opening_nano_usd == 0
    assert [entry.kind for entry in october.entries] == [
        EntryKind.DEPOSIT,
        EntryKind.FEE,
        EntryKind.REFUND,
    ]
    assert october.totals.usage_nano_usd == cost
    assert october.totals.requests == 2
    assert october.closing_nano_usd == 97 * USD_UNIT - cost
    (line,) = october.usage
    assert (line.day, line.model, line.key_id, line.price_version) == (
        "2026-10-01",
        "tiny",
        "key_1",
        "v1",
    )
    assert (line.requests, line.prompt_tokens, line.completion_tokens) == (2, 20, 150)
    november = book.statement("alice", NOVEMBER, clock.now_ns)
    assert november.opening_nano_usd == october.closing_nano_usd
    assert november.closing_nano_usd == ledger.balance(ALICE).posted
    assert (november.final, november.invoice) == (False, None)


def test_invoices_are_numbered_without_a_gap_and_keep_their_number(book, ledger, clock, deposits):
    paid(deposits, "d1")
    paid(deposits, "d2", account="bob")
    clock.now_ns = NOVEMBER.start_ns + HOUR_NS
    paid(deposits, "d3", account="carol")
    assert book.statement("nobody", OCTOBER, clock.now_ns).invoice is None
    bob = book.statement("bob", OCTOBER, clock.now_ns)
    alice = book.statement("alice", OCTOBER, clock.now_ns)
    assert (bob.invoice, alice.invoice) == ("TG-000001", "TG-000002")
    assert book.statement("carol", OCTOBER, clock.now_ns).invoice is None
    clock.now_ns = DECEMBER.end_ns
    assert book.statement("bob", OCTOBER, clock.now_ns) == bob
    assert book.statement("carol", NOVEMBER, clock.now_ns).invoice == "TG-000003"


def test_a_late_charge_is_in_the_next_statement_and_marked(book, ledger, clock, deposits):
    paid(deposits)
    clock.now_ns = NOVEMBER.start_ns + HOUR_NS
    before = book.statement("alice", OCTOBER, clock.now_ns)
    served(ledger, clock, "c1", closed_ns=OCTOBER.end_ns - 1)
    served(ledger, clock, "c2")
    assert book.statement("alice", OCTOBER, clock.now_ns) == before
    november = book.statement("alice", NOVEMBER, clock.now_ns)
    assert [(line.day, line.late) for line in november.usage] == [
        ("2026-10-31", True),
        ("2026-11-01", False),
    ]
    assert november.totals.late_usage_nano_usd == 10 * 200 + 100 * 600


def test_a_clock_set_back_moves_no_row_into_a_statement_that_was_issued(
    book, ledger, clock, deposits
):
    paid(deposits)
    clock.now_ns = NOVEMBER.start_ns + HOUR_NS
    issued = book.statement("alice", OCTOBER, clock.now_ns)
    clock.now_ns = OCTOBER.end_ns - HOUR_NS
    paid(deposits, "d2")
    clock.now_ns = NOVEMBER.start_ns + HOUR_NS
    assert book.statement("alice", OCTOBER, clock.now_ns) == issued
    november = book.statement("alice", NOVEMBER, clock.now_ns)
    assert november.opening_nano_usd == issued.closing_nano_usd
    assert november.closing_nano_usd == ledger.balance(ALICE).posted


def test_months_asked_for_out_of_order_still_meet(book, ledger, clock, deposits):
    for number, month in enumerate((OCTOBER, NOVEMBER, DECEMBER)):
        clock.now_ns = month.start_ns + HOUR_NS
        paid(deposits, f"d{number}")
    clock.now_ns = DECEMBER.end_ns
    made = [book.statement("alice", month, clock.now_ns) for month in (DECEMBER, OCTOBER, NOVEMBER)]
    assert made[1].closing_nano_usd == made[2].opening_nano_usd
    assert made[2].closing_nano_usd == made[0].opening_nano_usd
    assert book.statement("alice", OCTOBER.before, clock.now_ns).is_empty


class Watched:
    """A database, and what was asked of it."""

    def __init__(self, database) -> None:
        self._database = database
        self.asked: list[tuple[str, tuple]] = []

    def query(self, sql: str, *values: object):
        self.asked.append((sql, values))
        return self._database.query(sql, *values)

    def __getattr__(self, name: str):
        return getattr(self._database, name)


def test_charges_before_the_last_invoice_are_not_summed_up_again(
    book, ledger, clock, database, deposits
):
    paid(deposits, fee_ppm=0)
    served(ledger, clock, "c1")
    invoiced_to = ledger.last_seq()
    clock.now_ns = NOVEMBER.start_ns
    october = book.statement("alice", OCTOBER, clock.now_ns)
    served(ledger, clock, "c2")
    clock.now_ns = DECEMBER.start_ns + HOUR_NS
    watched = Watched(database)
    december = StatementBook(watched).statement("alice", DECEMBER, clock.now_ns)
    assert december.opening_nano_usd == october.closing_nano_usd - 62_000
    sums = [(sql, values) for sql, values in watched.asked if "sum(charged_nano_usd)" in sql]
    assert sums
    for sql, values in sums:
        assert "seq > ?" in sql
        assert min(value for value in values if type(value) is int) >= invoiced_to


def test_a_credit_line_is_told_apart_from_own_money(book, ledger, clock, deposits):
    ledger.post("t", [single("line", credit_line("alice"), ALICE, 5 * USD_UNIT)])
    served(ledger, clock, "c1")
    found = book.statement("alice", OCTOBER, clock.now_ns)
    assert found.credit_line_nano_usd == 5 * USD_UNIT
    assert found.own_nano_usd == -62_000
    assert found.totals.credit_line_nano_usd == 5 * USD_UNIT


def test_what_the_network_bore_is_not_charged(book, ledger, clock):
    opening = opened("c1")
    closing = msgspec.structs.replace(closed("c1", used(100)), closed_ns=clock.now_ns)
    ledger.post("g", [whole_group(opening, closing)])  # there is nothing to pay it from
    found = book.statement("alice", OCTOBER, clock.now_ns)
    (line,) = found.usage
    assert (line.cost_nano_usd, line.charged_nano_usd, found.closing_nano_usd) == (62_000, 0, 0)


def test_holds_of_charges_under_way_are_no_part_of_it(book, ledger, clock, deposits):
    paid(deposits, fee_ppm=0)
    ledger.post("g", [hold_group(opened("c1"))])
    found = book.statement("alice", OCTOBER, clock.now_ns)
    assert found.closing_nano_usd == 100 * USD_UNIT


def test_books_that_were_tampered_with_make_no_statement(book, ledger, clock, database, deposits):
    paid(deposits)
    clock.now_ns = NOVEMBER.start_ns + HOUR_NS
    database.query("UPDATE account SET credits_posted = credits_posted + 1 WHERE id = ?", ALICE)
    with pytest.raises(StatementError, match="ledger verify"):
        book.statement("alice", OCTOBER, clock.now_ns)


def test_a_movement_that_statements_do_not_know_of_stops_them(book, ledger, clock):
    ledger.post("t", [deposit_group("d1", "alice", 100)])
    pending = Transfer(
        id="p", kind=TransferKind.PENDING, debit=ALICE, credit="usd:treasury", amount=30, code="x"
    )
    post = Transfer(id="q", kind=TransferKind.POST, amount=20, code="x", pending_id="p")
    ledger.post("t", [Group(transfers=(pending,))])
    assert book.statement("alice", OCTOBER, clock.now_ns).closing_nano_usd == 100
    ledger.post("t", [Group(transfers=(post,))])
    with pytest.raises(StatementError, match="not the ledger's 0"):
        book.statement("alice", OCTOBER, clock.now_ns)


def test_a_month_that_has_not_begun_is_refused(book, clock):
    with pytest.raises(MonthError, match="has not begun"):
        book.statement("alice", NOVEMBER, clock.now_ns)

"""Holds that nobody resolves are released when their time is over: once, and by whoever looks."""

from __future__ import annotations

import pytest
from books import closed, deposit, opened, single, used

from metering.expirer import Expirer
from metering.ledger import Ledger, PostResult
from metering.posting import HOLD_NS, close_group, hold_group
from metering.rules import ID_CHARS_MAX
from metering.transfer import Group, Transfer, TransferKind

OPENED_NS = opened("x").created_ns


@pytest.fixture
def books(ledger, clock) -> Ledger:
    """Alice has 4 holds of 1,000,000: one posted, one voided, two that nobody resolved."""
    clock.now_ns = OPENED_NS
    openings = [opened(f"c{i}") for i in range(4)]
    ledger.post("g", [deposit("alice", 10**7), *map(hold_group, openings)])
    ledger.post(
        "g",
        [
            close_group(openings[0], closed("c0", used(1))),
            close_group(openings[2], closed("c2")),
        ],
    )
    return ledger


def test_only_what_is_open_and_over_is_released(books, clock):
    expirer = Expirer(books)
    assert expirer.run(clock.now_ns) == []
    assert books.balance("usd:customer:alice").debits_pending == 2_000_000
    clock.now_ns = OPENED_NS + HOLD_NS
    assert [hold.id for hold in expirer.run(clock.now_ns)] == ["c1:hold", "c3:hold"]
    assert books.balance("usd:customer:alice").debits_pending == 0
    assert books.balance("usd:fee_vault").credits_pending == 0
    assert list(books.open_holds()) == []
    assert books.verify().ok


def test_two_that_look_at_once_release_each_hold_once(books, clock):
    clock.now_ns = OPENED_NS + HOLD_NS
    first, second = Expirer(books), Expirer(books)
    assert len(first.run(clock.now_ns)) == 2
    last_seq = books.last_seq()
    assert second.run(clock.now_ns) == []
    assert books.last_seq() == last_seq


def test_it_remembers_how_far_it_looked_and_no_further(books, clock):
    expirer = Expirer(books)
    expirer.run(clock.now_ns)
    later = opened("late")
    books.post("g", [hold_group(later), close_group(opened("c1"), closed("c1"))])
    clock.now_ns = OPENED_NS + HOLD_NS
    assert [hold.id for hold in expirer.run(clock.now_ns)] == ["c3:hold", "late:hold"]
    assert expirer.run(clock.now_ns + HOLD_NS) == []


def test_a_clock_that_is_ahead_of_the_ledgers_releases_nothing_and_skips_nothing(books, clock):
    expirer = Expirer(books)
    assert expirer.run(OPENED_NS + HOLD_NS) == []
    clock.now_ns = OPENED_NS + HOLD_NS
    assert len(expirer.run(clock.now_ns)) == 2


def test_holds_without_an_end_stand(ledger, clock):
    hold = Transfer(
        id="h" * ID_CHARS_MAX,
        kind=TransferKind.PENDING,
        debit="usd:customer:a",
        credit="usd:fee_vault",
        amount=5,
        code="x",
        detail='{"why":"a person said so"}',
    )
    ledger.post("w", [single("d", "usd:external", "usd:customer:a", 5), Group(transfers=(hold,))])
    assert Expirer(ledger).run(2**62) == []
    assert list(ledger.open_holds()) == [(2, hold)]


def test_a_hold_released_in_the_meantime_is_charged_all_the_same(books, clock):
    """The gateway was not lost, only away for two days."""
    clock.now_ns = OPENED_NS + 2 * HOLD_NS
    Expirer(books).run(clock.now_ns)
    late = close_group(opened("c1"), closed("c1", used(5)))
    assert books.post("g", [late], watermark=9) == [PostResult.OK]
    assert books.watermark("g") == 9
    assert books.balance("usd:customer:alice").debits_posted == 2600 + 5000
    assert books.verify().ok

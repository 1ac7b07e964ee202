"""Post-paid credit, in the books."""

from __future__ import annotations

import contextlib
from concurrent.futures import ThreadPoolExecutor

import pytest
from books import closed, deposit, opened, used

from metering.accounts import credit_line, customer
from metering.backend import open_ledger
from metering.credit_line import CreditLineError, drawn_nano_usd, line_nano_usd, set_line
from metering.posting import whole_group
from metering.reference_ledger import ReferenceLedger
from metering.transfer import PostResult

SPENT = whole_group(opened("c1"), closed("c1", used(100)))
COST = 62_000


@pytest.fixture(params=["reference", "sqlite", "postgres"])
def ledger(request, tmp_path):
    if request.param == "reference":
        yield ReferenceLedger()
        return
    is_file = request.param == "sqlite"
    where = tmp_path / "ledger.db" if is_file else request.getfixturevalue("postgres_url")
    with contextlib.closing(open_ledger(where)) as made:
        yield made


def line_and_debt(ledger) -> tuple[int, int]:
    line = line_nano_usd(ledger.balance(credit_line("alice")))
    return line, drawn_nano_usd(line, ledger.balance(customer("alice")))


def test_a_line_is_spent_like_money_and_repaid_by_a_deposit(ledger):
    assert set_line(ledger, "w", "alice", 100_000)
    assert ledger.balance(customer("alice")).available == 100_000
    assert line_and_debt(ledger) == (100_000, 0)
    ledger.post("w", [SPENT])
    assert line_and_debt(ledger) == (100_000, COST)
    ledger.post("w", [deposit("alice", COST + 5)])
    assert line_and_debt(ledger) == (100_000, 0)
    assert ledger.balance(customer("alice")).available == 100_005
    assert ledger.verify().ok


def test_prepaid_money_is_spent_before_the_line(ledger):
    ledger.post("w", [deposit("alice", COST)])
    set_line(ledger, "w", "alice", 100_000)
    ledger.post("w", [SPENT])
    assert line_and_debt(ledger) == (100_000, 0)


def test_a_line_is_raised_and_lowered_and_set_again(ledger):
    for line in (100, 40, 0, 100, 40, 250):
        assert set_line(ledger, "w", "alice", line)
        assert not set_line(ledger, "w", "alice", line)
        assert line_and_debt(ledger) == (line, 0)
        assert ledger.balance(customer("alice")).available == line
    assert ledger.verify().ok


def test_a_line_is_not_lowered_below_what_is_drawn(ledger):
    set_line(ledger, "w", "alice", 100_000)
    ledger.post("w", [SPENT])
    with pytest.raises(CreditLineError, match=r"only 0.000038 is neither spent"):
        set_line(ledger, "w", "alice", COST - 1)
    assert line_and_debt(ledger) == (100_000, COST)
    assert set_line(ledger, "w", "alice", COST)
    assert line_and_debt(ledger) == (COST, COST)


@pytest.mark.parametrize(("line", "reason"), [(-1, "below zero"), (2**63 - 1, "too large")])
def test_a_line_that_no_account_can_have_is_refused(ledger, line, reason):
    ledger.post("w", [deposit("alice", 1)])
    with pytest.raises(CreditLineError, match=reason):
        set_line(ledger, "w", "alice", line)


def test_many_at_once_leave_the_line_of_one_of_them(where):
    open_ledger(where).close()

    def change(line: int) -> None:
        with contextlib.closing(open_ledger(where)) as ledger:
            set_line(ledger, "w", "alice", line)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(change, [10, 20, 30, 40]))
    with contextlib.closing(open_ledger(where)) as ledger:
        line, debt = line_and_debt(ledger)
        assert line in (10, 20, 30, 40)
        assert debt == 0
        assert ledger.balance(customer("alice")).available == line
        assert ledger.verify().ok
        assert ledger.post("w", [deposit("alice", 1)]) == [PostResult.OK]

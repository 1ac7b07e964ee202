"""The prepaid limit: never over, and what was reserved for nothing comes back."""

from __future__ import annotations

import random

from metering.budget import BalanceUpdate, Budget


def told(account="alice", available=100, booked=0):
    return BalanceUpdate(account=account, available_nano_usd=available, booked_nano_usd=booked)


def test_an_account_that_the_ledger_was_not_asked_about_has_nothing():
    budget = Budget()
    assert not budget.known("alice")
    assert not budget.reserve("alice", 0)
    assert budget.available("alice") == 0


def test_what_is_reserved_is_not_there_for_the_next():
    budget = Budget()
    budget.update([told(available=100)])
    assert budget.known("alice")
    assert budget.reserve("alice", 60)
    assert not budget.reserve("alice", 41)
    assert budget.reserve("alice", 40)
    assert budget.available("alice") == 0


def test_settling_gives_back_what_the_request_did_not_cost():
    budget = Budget()
    budget.update([told(available=100)])
    budget.reserve("alice", 60)
    budget.settle("alice", 60, 25)
    assert budget.available("alice") == 75


def test_a_cost_above_the_hold_takes_the_hold():
    budget = Budget()
    budget.update([told(available=100)])
    budget.reserve("alice", 60)
    budget.settle("alice", 60, 90)
    assert budget.available("alice") == 40


def test_what_the_ledger_has_booked_is_counted_once():
    budget = Budget()
    budget.update([told(available=100)])
    budget.reserve("alice", 60)
    budget.update([told(available=40, booked=-60)])
    assert budget.available("alice") == 40
    budget.settle("alice", 60, 25)
    budget.update([told(available=75, booked=35)])
    assert budget.available("alice") == 75


def test_a_deposit_shows_beside_what_is_not_booked_yet():
    budget = Budget()
    budget.update([told(available=10)])
    budget.reserve("alice", 10)
    budget.update([told(available=1010)])
    assert budget.available("alice") == 1000


def test_money_taken_away_below_the_holds_refuses_everything():
    budget = Budget()
    budget.update([told(available=100)])
    budget.reserve("alice", 60)
    budget.update([told(available=10)])
    assert budget.available("alice") == -50
    assert not budget.reserve("alice", 0)


def test_any_order_of_requests_and_reports_never_promises_more_than_there_is():
    """A ledger that lags behind at random; what it would allow is the limit at every step."""
    rng = random.Random(7)
    for _ in range(200):
        budget, ledger, in_flight, rows = Budget(), 1000, [], []
        budget.update([told(available=ledger)])
        spent = 0
        for _ in range(60):
            action = rng.random()
            if action < 0.4:
                hold = rng.randrange(300)
                if budget.reserve("alice", hold):
                    in_flight.append(hold)
                    rows.append(-hold)
            elif action < 0.8 and in_flight:
                hold = in_flight.pop(rng.randrange(len(in_flight)))
                cost = rng.randrange(400)
                budget.settle("alice", hold, cost)
                rows.append(hold - min(cost, hold))
                spent += min(cost, hold)
            elif rows:
                booked = sum(rows.pop(0) for _ in range(rng.randrange(len(rows)) + 1))
                ledger += booked
                budget.update([told(available=ledger, booked=booked)])
            assert budget.available("alice") == 1000 - spent - sum(in_flight) >= 0

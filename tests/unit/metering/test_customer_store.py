"""Customers: state, credit, warnings."""

from __future__ import annotations

import contextlib
from concurrent.futures import ThreadPoolExecutor

import pytest
from books import closed, deposit, opened, used

from metering.accounts import customer
from metering.backend import open_database, open_ledger
from metering.credit_line import set_line
from metering.customer_store import CustomerError, CustomerState, CustomerStore
from metering.key_store import KeyRefusedError, KeyStore
from metering.posting import whole_group

COST = 62_000


@pytest.fixture
def store(database):
    return CustomerStore(database)


@pytest.fixture
def ledger(where):
    with contextlib.closing(open_ledger(where)) as made:
        yield made


@pytest.fixture
def beside_ledger(ledger, store):
    return store


def spend(ledger, name: str) -> None:
    ledger.post("w", [whole_group(opened(name), closed(name, used(100)))])


def add_account(database, name: str, available: int) -> None:
    database.query("INSERT INTO account VALUES (?, 0, 0, 0, ?)", customer(name), available)


def test_the_books_and_the_record_are_one_customer(ledger, beside_ledger):
    assert beside_ledger.get("alice") is None
    ledger.post("w", [deposit("alice", 20_000)])
    found = beside_ledger.get("alice")
    assert found is not None
    assert (found.state, found.created_ns) == (CustomerState.ACTIVE, None)
    beside_ledger.enter("alice", 7)
    set_line(ledger, "w", "alice", 100_000)
    spend(ledger, "c1")
    found = beside_ledger.get("alice")
    assert found is not None
    assert found.created_ns == 7
    assert found.balance.available == 58_000
    assert found.credit_line_nano_usd == 100_000
    assert found.credit_drawn_nano_usd == 42_000


def test_customers_are_listed_page_by_page_and_no_other_account(database, store):
    names = ["a", "a-b", "a.b", "a_b", "b", "zz"]
    for name in names:
        add_account(database, name, 1)
    database.query("INSERT INTO account VALUES ('usd:external', 0, 1, 0, 0)")
    seen, after = [], None
    while page := store.page(after=after, limit=4):
        seen += [each.account for each in page]
        after = seen[-1]
    assert seen == sorted(names)


def test_a_closed_account_loses_its_keys_and_stays_closed(database, store):
    keys = KeyStore(database)
    key, _ = keys.create("alice")
    other, _ = keys.create("bob")
    store.set_state("alice", CustomerState.CLOSED, 5)
    closed_key, kept = keys.get(key.key_id), keys.get(other.key_id)
    assert closed_key is not None
    assert closed_key.revoked_ns == 5
    assert kept is not None
    assert kept.revoked_ns is None
    with pytest.raises(KeyRefusedError, match="closed"):
        keys.create("alice")
    with pytest.raises(CustomerError, match="for good"):
        store.set_state("alice", CustomerState.ACTIVE, 6)
    store.set_state("alice", CustomerState.CLOSED, 7)


def test_the_keys_of_a_suspended_account_are_marked_until_it_is_active_again(database, store):
    keys = KeyStore(database)
    keys.create("alice")
    for state, marked in [
        (CustomerState.SUSPENDED, True),
        (CustomerState.ACTIVE, False),
    ]:
        store.set_state("alice", state, 5)
        assert [key.suspended for key in keys.load_all()] == [marked]


def test_a_crossing_is_warned_of_once_and_again_after_the_next_one(ledger, beside_ledger):
    ledger.post("w", [deposit("alice", 100_000)])
    beside_ledger.warn_below("alice", 50_000, 1)
    assert beside_ledger.warn(2) == []
    spend(ledger, "c1")
    (warning,) = beside_ledger.warn(3)
    assert (warning.account, warning.threshold_nano_usd) == ("alice", 50_000)
    assert warning.available_nano_usd == 100_000 - COST
    assert beside_ledger.warn(4) == []
    ledger.post("w", [deposit("alice", COST, "2")])
    assert beside_ledger.warn(5) == []
    spend(ledger, "c2")
    (again,) = beside_ledger.warn(6)
    assert beside_ledger.warnings(limit=9) == [again, warning]
    assert beside_ledger.warnings(account="bob", limit=9) == []


def test_a_new_threshold_warns_anew_and_none_never(database, store):
    add_account(database, "alice", 10)
    store.warn_below("alice", 20, 1)
    assert len(store.warn(2)) == 1
    store.warn_below("alice", 30, 3)
    assert len(store.warn(4)) == 1
    store.warn_below("alice", None, 5)
    assert store.warn(6) == []


def test_of_many_gateways_one_warns(database, store, where):
    for number in range(20):
        add_account(database, f"a{number}", 10)
        store.warn_below(f"a{number}", 20, 1)

    def look(now_ns: int) -> list[str]:
        with contextlib.closing(open_database(where)) as own:
            return [warning.account for warning in CustomerStore(own).warn(now_ns)]

    with ThreadPoolExecutor(4) as gateways:
        warned = [account for found in gateways.map(look, range(2, 6)) for account in found]
    assert sorted(warned) == sorted(f"a{number}" for number in range(20))

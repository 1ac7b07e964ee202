"""What the ledger's charges leave of a purse: summed at first, then followed row by row."""

from __future__ import annotations

import contextlib

import msgspec
import pytest
from books import closed, deposit, opened, used

from metering.backend import open_database, open_ledger
from metering.cycle import Cycle
from metering.key_store import KeyStore
from metering.keys import KeyTerms
from metering.posting import whole_group
from metering.purse import FREE, Quota
from metering.purse_tally import PurseTally
from metering.purses import Purses
from metering.usage_hours import sum_up

DAY_NS = 86_400_000_000_000
NOON_NS = 20_000 * DAY_NS + DAY_NS // 2
COST = 10 * 200 + 5 * 600


class Books:
    def __init__(self, where):
        self.ledger = open_ledger(where)
        self.database = open_database(where)
        self.ledger.post("test", [deposit("alice", 10**12)])
        self.purses = Purses(lambda _: None, lambda _: True)
        self.count = 0

    def tally(self):
        return PurseTally(self.database, self.purses.get)

    def key(self, parent=None):
        store = KeyStore(self.database)
        if parent is None:
            return store.create("alice", "", KeyTerms(manages_keys=True))[0].key_id
        return store.create_sub_key(parent)[0].key_id

    def charge(self, key_id, created_ns=NOON_NS, *, free=False, tokens=5, model="tiny"):
        self.count += 1
        charge = msgspec.structs.replace(
            opened(f"c{self.count}"), key_id=key_id, created_ns=created_ns, model=model
        )
        if free:
            charge = msgspec.structs.replace(charge, price=FREE, hold_nano_usd=0)
        group = whole_group(charge, closed(charge.charge_id, used(tokens)))
        assert self.ledger.post("test", [group])[0].booked

    def left(self, tally, purse):
        return tally.left([purse.name], self.ledger.last_seq()).get(purse.name)


@pytest.fixture
def books(where):
    made = Books(where)
    with contextlib.closing(made.ledger), contextlib.closing(made.database):
        yield made


def test_a_cap_counts_its_key_in_its_cycle(books):
    key, other = books.key(), books.key()
    cap = books.purses.cap(key, 100_000, Cycle.DAILY, NOON_NS)
    charges = [(key, NOON_NS), (key, cap.from_ns), (key, cap.until_ns - 1), (key, cap.until_ns)]
    charges += [(key, cap.from_ns - 1), (other, NOON_NS)]
    for charge in charges:
        books.charge(*charge)
    follower = books.tally()
    assert books.left(follower, cap) == 100_000 - 3 * COST
    for charge in charges:
        books.charge(*charge)
    assert books.left(follower, cap) == 100_000 - 6 * COST
    assert books.left(books.tally(), cap) == 100_000 - 6 * COST


def test_a_cap_counts_the_keys_that_its_key_made(books):
    parent = books.key()
    first = books.key(parent)
    cap = books.purses.cap(parent, 100_000, None, NOON_NS)
    books.charge(first)
    follower = books.tally()
    assert books.left(follower, cap) == 100_000 - COST
    books.charge(books.key(parent))
    books.charge(parent)
    assert books.left(follower, cap) == 100_000 - 3 * COST
    assert books.left(books.tally(), cap) == 100_000 - 3 * COST


def test_free_tokens_count_what_was_free_for_the_account_and_model_on_that_day(books):
    key = books.key()
    free = books.purses.free("alice", "tiny", 1000, NOON_NS)
    follower = books.tally()
    assert books.left(follower, free) == 1000
    for _ in range(2):
        books.charge(key, free=True)
        books.charge(key, free=False)
        books.charge(key, free=True, model="other")
        books.charge(key, NOON_NS + DAY_NS, free=True)
    assert books.left(follower, free) == 1000 - 2 * 15
    assert books.left(books.tally(), free) == 1000 - 2 * 15


def test_only_rows_up_to_the_one_asked_for_count(books):
    key = books.key()
    cap = books.purses.cap(key, 100_000, None, NOON_NS)
    books.charge(key)
    seq = books.ledger.last_seq()
    books.charge(key)
    follower = books.tally()
    assert follower.left([cap.name], seq) == {cap.name: 100_000 - COST}
    assert books.left(follower, cap) == 100_000 - 2 * COST


def test_what_was_let_go_of_is_not_told_nor_followed_any_more(books):
    key = books.key()
    cap = books.purses.cap(key, 100_000, Cycle.DAILY, NOON_NS)
    follower = books.tally()
    assert books.left(follower, cap) == 100_000
    later = books.purses.cap(key, 100_000, Cycle.DAILY, NOON_NS + 30 * DAY_NS)
    assert books.purses.get(cap.name) is None
    books.charge(key)
    books.charge(key, NOON_NS + 30 * DAY_NS)
    assert books.left(follower, cap) is None
    assert books.left(follower, later) == 100_000 - COST
    assert follower._taken.keys() == {later.name}


def test_a_gap_of_many_pages_is_read_whole(books, monkeypatch):
    monkeypatch.setattr("metering.purse_tally.PAGE_ROWS", 3)
    key = books.key()
    cap = books.purses.cap(key, 1_000_000, None, NOON_NS)
    follower = books.tally()
    assert books.left(follower, cap) == 1_000_000
    for _ in range(10):
        books.charge(key)
    assert books.left(follower, cap) == 1_000_000 - 10 * COST


@pytest.mark.parametrize("summed_after", [0, 1, 2, 3])
def test_sums_by_the_hour_may_be_behind_the_row_at_hand_or_ahead_of_it(books, summed_after):
    key = books.key()
    cap = books.purses.cap(key, 100_000, Cycle.DAILY, NOON_NS)
    free = books.purses.free("alice", "tiny", 1000, NOON_NS)
    seqs = [books.ledger.last_seq()]
    for count in range(3):
        if count == summed_after:
            sum_up(books.database)
        books.charge(key)
        books.charge(key, free=True)
        seqs.append(books.ledger.last_seq())
    if summed_after == 3:
        sum_up(books.database)
    for count, seq in enumerate(seqs):
        tally = books.tally()
        left = tally.left([cap.name, free.name], seq)
        assert left == {cap.name: 100_000 - count * COST, free.name: 1000 - count * 15}


def quota(*models, tokens=1000):
    return Quota(
        name="chat", category="chat", models=models, tokens_per_day=tokens, exempt=frozenset()
    )


def test_a_quota_counts_all_tokens_of_its_models_at_whatever_price(books):
    key = books.key()
    purse = books.purses.quota("alice", quota("tiny", "small"), NOON_NS)
    free = books.purses.free("alice", "tiny", 1000, NOON_NS)
    begun, follower = books.tally(), books.tally()
    assert books.left(follower, purse) == 1000
    books.charge(key)
    books.charge(key, free=True)
    books.charge(key, model="small")
    books.charge(key, model="other")
    books.charge(key, purse.until_ns)
    for tally in (begun, follower):
        assert books.left(tally, purse) == 1000 - 3 * 15
        assert books.left(tally, free) == 1000 - 15
    sum_up(books.database)
    assert books.left(books.tally(), purse) == 1000 - 3 * 15
    books.charge(key, model="small")
    for tally in (begun, follower, books.tally()):
        assert books.left(tally, purse) == 1000 - 4 * 15
        assert books.left(tally, free) == 1000 - 15


def test_a_quota_that_is_over_is_let_go_of_with_all_its_models(books):
    over = books.purses.quota("alice", quota("tiny", "small"), NOON_NS)
    tally = books.tally()
    books.left(tally, over)
    later_ns = over.until_ns + 3_600_000_000_000
    new = books.purses.quota("alice", quota("tiny", "small"), later_ns)
    assert books.purses.get(over.name) is None
    assert books.left(tally, new) == 1000
    books.charge(books.key(), later_ns, model="small")
    assert books.left(tally, new) == 1000 - 15

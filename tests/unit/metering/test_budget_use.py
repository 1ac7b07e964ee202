"""How much of budgets is used is what the charges say, however many are summed by the hour."""

from __future__ import annotations

import contextlib
import random

import msgspec
import pytest
from books import closed, deposit, opened, single, used

from metering import usage_hours
from metering.accounts import USD_FEE_VAULT, customer
from metering.backend import open_ledger
from metering.budget_use import BudgetUse, Use
from metering.charge import ChargeRecord, finished
from metering.credit_line import set_line
from metering.cycle import Cycle
from metering.key_store import KeyStore
from metering.keys import KeyTerms
from metering.purse import Quota, cap_purse
from metering.usage_hours import HOUR_NS, sum_up

NOON_NS = 1_700_000_000_000_000_000 // (24 * HOUR_NS) * 24 * HOUR_NS + 12 * HOUR_NS
"""Of a Tuesday."""
CAP = 10**7
CYCLES = (None, *Cycle)


@pytest.fixture
def use(database):
    return BudgetUse(database, clock_ns=lambda: NOON_NS)


def book(database, seq: int, **fields) -> ChargeRecord:
    """A charge that was opened at noon, unless `fields` say otherwise."""
    name = f"c{seq}"
    record = finished(
        msgspec.structs.replace(opened(name), created_ns=NOON_NS), closed(name, used(seq))
    )
    record = msgspec.structs.replace(record, **fields)
    values = (seq, *msgspec.structs.astuple(record))
    database.query(f"INSERT INTO charge VALUES ({', '.join('?' * len(values))})", *values)
    return record


def capped(cycle: Cycle | None, **more) -> KeyTerms:
    return KeyTerms(spend_cap_nano_usd=CAP, spend_cycle=cycle, **more)


def test_a_cap_counts_the_charges_of_its_cycle(database, use, monkeypatch):
    monkeypatch.setattr(usage_hours, "STEP_ROWS", 7)
    rng, store = random.Random(5), KeyStore(database)
    keys = {cycle: store.create("alice", terms=capped(cycle))[0].key_id for cycle in CYCLES}
    plain = store.create("alice")[0].key_id
    records = []
    for seq in range(1, 101):
        records.append(
            book(
                database,
                seq,
                key_id=rng.choice([plain, *keys.values()]),
                created_ns=NOON_NS - rng.choice((1, 4, 5, 12, 13, 36, 37, 400, 9000)) * HOUR_NS,
            )
        )
        if seq in (40, 60):
            usage_hours._sum_some(database)
    expected = {}
    for cycle, key_id in keys.items():
        purse = cap_purse(key_id, CAP, cycle, NOON_NS)
        own = [each for each in records if each.key_id == key_id and purse.at(each.created_ns)]
        assert own
        expected[cycle] = sum(each.charged_nano_usd for each in own)
    assert len(set(expected.values())) == len(CYCLES)
    whole = [Use(used=each, limit=CAP) for each in sorted(expected.values())]
    assert _sorted(use.caps()) == whole
    assert sum_up(database)
    assert _sorted(use.caps()) == whole


def test_a_sub_key_counts_for_the_key_that_made_it(database, use):
    store = KeyStore(database)
    parent = store.create("alice", terms=capped(None, manages_keys=True))[0].key_id
    sub = store.create_sub_key(parent)[0].key_id
    charged = sum(
        book(database, seq, key_id=key_id).charged_nano_usd
        for seq, key_id in enumerate((parent, sub, "another"), 1)
        if key_id != "another"
    )
    assert use.caps() == [Use(used=charged, limit=CAP)]


def test_keys_that_cannot_be_used_do_not_count(database, use):
    store = KeyStore(database)
    store.create("alice", terms=capped(None, expires_ns=NOON_NS))
    revoked = store.create("alice", terms=capped(Cycle.DAILY))[0].key_id
    parent = store.create("alice", terms=KeyTerms(manages_keys=True))[0].key_id
    store.create_sub_key(parent, terms=capped(None))
    assert len(use.caps()) == 2
    store.revoke(revoked)
    assert len(use.caps()) == 1
    store.revoke(parent)
    assert use.caps() == []


def test_the_account_that_used_most_of_a_quota_today(database, use):
    store = KeyStore(database)
    for account in ("alice", "bob", "carol"):
        store.create(account)
    quota = Quota(
        name="chat",
        category="chat",
        models=("m1", "m2"),
        tokens_per_day=1000,
        exempt=frozenset({"carol"}),
    )
    assert use.most_of(quota) == Use(used=0, limit=1000)
    book(database, 1, account="alice", model="m1", completion_tokens=100)
    book(database, 2, account="bob", model="m1", completion_tokens=200)
    book(database, 3, account="alice", model="m2", completion_tokens=300)
    book(database, 4, account="carol", model="m1", completion_tokens=900)
    book(database, 5, account="bob", model="m3", completion_tokens=900)
    yesterday_ns = NOON_NS - 13 * HOUR_NS
    book(database, 6, account="bob", model="m1", completion_tokens=900, created_ns=yesterday_ns)
    expected = Use(used=100 + 300 + 2 * 10, limit=1000)
    assert use.most_of(quota) == expected
    assert sum_up(database)
    assert use.most_of(quota) == expected
    book(database, 7, account="bob", model="m2", completion_tokens=400)
    assert use.most_of(quota).used == 200 + 400 + 2 * 10


def test_what_is_drawn_of_credit_lines(where, use):
    with contextlib.closing(open_ledger(where)) as ledger:
        ledger.post("test", [deposit("alice", 100), deposit("bob", 500)])
        for account, line in (("alice", 1000), ("bob", 2000), ("carol", 300)):
            assert set_line(ledger, "test", account, line)
        assert set_line(ledger, "test", "carol", 0)
        ledger.post("test", [single("spent", customer("alice"), USD_FEE_VAULT, 700)])
    assert _sorted(use.credit_lines()) == [Use(used=0, limit=2000), Use(used=600, limit=1000)]


def _sorted(uses: list[Use]) -> list[Use]:
    return sorted(uses, key=lambda each: each.used)

"""Sums of usage are the same however much of it was summed by the hour before."""

from __future__ import annotations

import itertools
import random

import msgspec
import pytest
from books import closed, opened, used

from metering import usage_hours
from metering.charge import ChargeRecord, finished
from metering.key_store import KeyStore
from metering.usage_hours import HOUR_NS, sum_up
from metering.usage_store import DAY_NS, GroupBy, UsageFilter, UsageStore, UsageSum

START_NS = 1_700_000_000_000_000_000 // DAY_NS * DAY_NS


def charge(rng: random.Random, name: str) -> ChargeRecord:
    record = finished(
        msgspec.structs.replace(
            opened(name, account=rng.choice(("alice", "bob"))),
            created_ns=START_NS + rng.randrange(4 * HOUR_NS) * rng.choice((1, 9)),
        ),
        closed(name, used(rng.randrange(1, 9), prompt=7) if rng.random() < 0.8 else None),
    )
    return msgspec.structs.replace(
        record, key_id=rng.choice(("k1", "k2")), model=rng.choice(("m1", "m2"))
    )


def book(database, seq: int, record: ChargeRecord) -> None:
    values = (seq, *msgspec.structs.astuple(record))
    database.query(f"INSERT INTO charge VALUES ({', '.join('?' * len(values))})", *values)


def total(records: list[ChargeRecord]) -> UsageSum:
    names = UsageSum.__struct_fields__[1:]
    sums = {name: sum(getattr(record, name) for record in records) for name in names}
    return UsageSum(requests=len(records), **sums)


def matches(wanted: UsageFilter, record: ChargeRecord) -> bool:
    return (
        record.account == wanted.account
        and wanted.from_ns <= record.created_ns < wanted.until_ns
        and wanted.key_id in (None, record.key_id)
        and wanted.model in (None, record.model)
    )


def moment(rng: random.Random) -> int:
    """A whole hour, one beside it, or any."""
    hour_ns = START_NS + rng.randrange(-1, 40) * HOUR_NS
    return hour_ns + rng.choice((0, 0, -1, 1, rng.randrange(HOUR_NS)))


@pytest.mark.parametrize("seed", range(6))
def test_a_sum_is_that_of_its_charges(database, monkeypatch, seed):
    monkeypatch.setattr(usage_hours, "STEP_ROWS", 7)
    rng = random.Random(seed)
    store = UsageStore(database)
    records: list[ChargeRecord] = []
    seqs = itertools.count(1)
    for step in range(60):
        for _ in range(rng.randrange(4)):
            seq = next(seqs) + rng.randrange(2)
            seqs = itertools.count(seq + 1)
            records.append(charge(rng, f"c{seq}"))
            book(database, seq, records[-1])
        if rng.random() < 0.3:
            sum_up(database)
            assert sum_up(database) == 0
        wanted = UsageFilter(
            account=rng.choice(("alice", "bob", "carol")),
            from_ns=moment(rng),
            until_ns=moment(rng),
            key_id=rng.choice((None, "k1")),
            model=rng.choice((None, "m2")),
        )
        expected = [record for record in records if matches(wanted, record)]
        assert store.total(wanted) == total(expected), step
        rows = store.rows(wanted, [GroupBy.DAY, GroupBy.KEY], limit=1000)
        groups = {(r.created_ns // DAY_NS, r.key_id, r.price_version) for r in expected}
        assert [row.group for row in rows] == sorted(groups)
        assert sum(row.sum.cost_nano_usd for row in rows) == total(expected).cost_nano_usd
    assert records


def test_what_a_key_spent_is_told_from_the_sums_too(database):
    keys, store = KeyStore(database), UsageStore(database)
    key, _ = keys.create("alice", "k")
    for seq, hour in ((1, 0), (2, 1), (3, 2)):
        record = charge(random.Random(2), f"c{seq}")
        changes = {"account": "alice", "key_id": key.key_id, "charged_nano_usd": 10**seq}
        created_ns = START_NS + hour * HOUR_NS + 5
        book(database, seq, msgspec.structs.replace(record, created_ns=created_ns, **changes))
        if seq == 2:
            sum_up(database)
    starts_ns = [0, START_NS + HOUR_NS, START_NS + 2 * HOUR_NS, START_NS + 3 * HOUR_NS]
    assert store.spent(key.key_id, starts_ns) == [1110, 1100, 1000, 0]
    assert store.spent("nobody", starts_ns) == [0, 0, 0, 0]

"""What was served is the same however much of it was summed by the hour before."""

from __future__ import annotations

import msgspec
import pytest
from books import closed, opened, used

from metering.charge import ChargeRecord, finished
from metering.served_totals import Served, ServedTotals
from metering.usage_hours import sum_up

DAY_NS = 86_400 * 10**9
START_NS = 20_000 * DAY_NS


def charge(name: str, at_ns: int, **changes: object) -> ChargeRecord:
    usage = used(5, prompt=7, cached=2)
    record = finished(msgspec.structs.replace(opened(name), created_ns=at_ns), closed(name, usage))
    return msgspec.structs.replace(record, closed_ns=at_ns, **changes)


def book(database, seq: int, record: ChargeRecord) -> None:
    values = (seq, *msgspec.structs.astuple(record))
    database.query(f"INSERT INTO charge VALUES ({', '.join('?' * len(values))})", *values)


@pytest.mark.parametrize("summed_after", [0, 1, 3, 4])
def test_days_and_models_add_up_over_all_accounts(database, summed_after):
    booked = [
        charge("a", START_NS, account="alice"),
        charge("b", START_NS + DAY_NS - 1, account="bob"),
        charge("c", START_NS + DAY_NS, account="bob"),
        charge("d", START_NS + DAY_NS, model="other"),
    ]
    for seq, record in enumerate(booked, start=1):
        book(database, seq, record)
        if seq == summed_after:
            sum_up(database)
    told = ServedTotals(database).by_day()
    assert [(each.day, each.model, each.requests, each.completion_tokens) for each in told] == [
        (20_000, "tiny", 2, 10),
        (20_001, "other", 1, 5),
        (20_001, "tiny", 1, 5),
    ]
    paid = booked[0].charged_nano_usd
    first = Served(
        day=20_000, model="tiny", requests=2, prompt_tokens=14, cached_tokens=4,
        completion_tokens=10, charged_nano_usd=2 * paid,
    )  # fmt: skip
    assert told[0] == first


def test_first_tokens_are_of_the_latest_answers_that_had_one(database):
    for seq, (node, at_ns, ttft_ns) in enumerate(
        [("old", 1, 9), ("a", 5, 10), ("b", 6, None), ("c", 7, 30)], start=1
    ):
        book(database, seq, charge(f"c{seq}", at_ns, node_id=node, ttft_ns=ttft_ns))
    totals = ServedTotals(database)
    assert totals.first_tokens(since_ns=5, limit=9) == [("c", 30), ("a", 10)]
    assert totals.first_tokens(since_ns=0, limit=1) == [("c", 30)]


def test_the_node_of_a_request_is_the_one_that_was_paid_for_it(database):
    book(database, 1, charge("a", 5, node_id="n1"))
    book(database, 2, charge("b", 5, node_id=None))
    totals = ServedTotals(database)
    assert totals.node_of("req_a") == "n1"
    assert totals.node_of("req_b") is None
    assert totals.node_of("req_c") is None

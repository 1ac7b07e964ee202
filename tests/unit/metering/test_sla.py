"""From charges to what was missed of an SLA, and what is given back for it."""

from __future__ import annotations

from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metering.month import DAY_NS, Month
from metering.sla import (
    HOUR_NS,
    Objective,
    SlaPeriod,
    SlaRow,
    credit_group,
    judge,
    percentile,
    period_at,
    periods,
    verdict_of,
)

OCTOBER = Month(2026, 10)
START = OCTOBER.start_ns
MONTH = period_at(SlaPeriod.MONTH, START)
OBJECTIVE = Objective(
    name="gold",
    account=None,
    model=None,
    period=SlaPeriod.MONTH,
    since_ns=START,
    availability_ppm=900_000,
    ttft_p95_ms=500,
    credit_ppm=100_000,
    requests_min=10,
)


def rows(count, *, outcome="completed", account="alice", hour=0, ttft_ms=100, spent=1_000, **more):
    row = SlaRow(
        account=account,
        model=more.get("model", "tiny"),
        closed_ns=START + hour * HOUR_NS,
        outcome=outcome,
        ttft_ns=None if ttft_ms is None else ttft_ms * 1_000_000,
        charged_nano_usd=spent,
    )
    return [row] * count


def verdict(*parts, objective=OBJECTIVE):
    (found,) = judge(objective, MONTH, [row for part in parts for row in part])
    return found


def test_a_promise_that_was_kept_costs_nothing():
    found = verdict(rows(9), rows(1, outcome="node_error", ttft_ms=None, spent=0))
    assert (found.requests, found.failed, found.availability_ppm) == (10, 1, 900_000)
    assert not found.missed
    assert found.credit_nano_usd == 0


def test_availability_missed_gives_back_a_share_of_the_whole_period():
    found = verdict(rows(10), rows(2, outcome="node_broken", hour=30, spent=5))
    assert found.availability_missed
    assert found.availability_ppm == 833_333
    assert (found.base_nano_usd, found.credit_nano_usd) == (10_010, 1_001)


@pytest.mark.parametrize(
    ("outcome", "counts", "fails"),
    [
        ("completed", True, False),
        ("client_gone", True, False),
        ("refused_by_node", False, False),
        ("node_error", True, True),
        ("node_broken", True, True),
        ("no_capacity", True, True),
        ("timed_out", True, True),
        ("empty", True, True),
        ("gateway_crash", True, True),
    ],
)
def test_what_counts_and_what_fails(outcome, counts, fails):
    found = verdict(rows(20), rows(1, outcome=outcome))
    assert (found.requests, found.failed) == (20 + counts, fails)


def test_a_slow_hour_gives_back_a_share_of_that_hour():
    found = verdict(rows(20), rows(18, hour=5), rows(2, hour=5, ttft_ms=501), rows(9, hour=6))
    (slow,) = found.slow_hours
    assert (slow.start_s, slow.ttft_p95_ms, slow.requests) == (
        (START + 5 * HOUR_NS) // 10**9,
        501,
        20,
    )
    assert (found.hours_judged, found.base_nano_usd, found.credit_nano_usd) == (2, 20_000, 2_000)


def test_too_few_requests_are_not_judged():
    found = verdict(rows(9, outcome="node_error", ttft_ms=9_000))
    assert found.availability_ppm is None
    assert (found.missed, found.hours_judged, found.credit_nano_usd) == (False, 0, 0)


def test_only_what_the_objective_and_the_period_cover_is_judged():
    objective = msgspec.structs.replace(OBJECTIVE, account="alice", model="tiny")
    bad = {"outcome": "node_error", "ttft_ms": 9_000}
    outside = rows(50, account="bob", **bad) + rows(50, model="other", **bad)
    outside += rows(50, hour=31 * 24, **bad) + rows(50, hour=-1, **bad)
    assert verdict(rows(10), outside, objective=objective).requests == 10


def test_each_account_gets_its_own_verdict():
    found = judge(OBJECTIVE, MONTH, rows(10) + rows(10, account="bob", outcome="node_error"))
    assert [(each.account, each.missed) for each in found] == [("alice", False), ("bob", True)]


def test_the_credit_carries_its_evidence():
    found = verdict(rows(10, outcome="empty"))
    (credit,) = credit_group(found).transfers
    assert credit.id == "sla:gold:alice:2026-10"
    assert (credit.debit, credit.credit) == ("usd:sla_credit", "usd:customer:alice")
    assert credit.amount == found.credit_nano_usd == 1_000
    assert verdict_of(credit.detail) == found


@pytest.mark.parametrize(
    ("values", "expected"), [([7], 7), (list(range(1, 21)), 19), (list(range(1, 101)), 95)]
)
def test_a_percentile_is_by_nearest_rank(values, expected):
    assert percentile(values[::-1], 95, 100) == expected


def test_periods_follow_each_other_from_the_first_whole_one():
    late = msgspec.structs.replace(OBJECTIVE, since_ns=START + 1)
    assert [each.name for each in periods(late, Month(2027, 1).start_ns)] == ["2026-11", "2026-12"]
    daily = msgspec.structs.replace(OBJECTIVE, period=SlaPeriod.DAY)
    found = periods(daily, START + 3 * DAY_NS)
    assert [each.name for each in found] == ["2026-10-01", "2026-10-02", "2026-10-03"]
    assert all(this.end_ns == following.start_ns for this, following in pairwise(found))
    assert periods(daily, START + DAY_NS - 1) == []


outcomes = st.sampled_from(("completed", "client_gone", "node_error", "refused_by_node", "empty"))
some_rows = st.lists(
    st.builds(
        SlaRow,
        account=st.sampled_from(("alice", "bob")),
        model=st.sampled_from(("tiny", "other")),
        closed_ns=st.integers(START - HOUR_NS, OCTOBER.end_ns + HOUR_NS),
        outcome=outcomes,
        ttft_ns=st.none() | st.integers(0, 10**10),
        charged_nano_usd=st.integers(0, 10**12),
    ),
    max_size=60,
)


@given(
    some_rows,
    st.integers(1, 1_000_000),
    st.none() | st.integers(0, 1_000_000),
    st.none() | st.integers(1, 9_000),
    st.integers(1, 5),
)
def test_a_credit_is_never_above_what_was_spent(found, credit_ppm, availability, ttft, least):
    objective = msgspec.structs.replace(
        OBJECTIVE,
        credit_ppm=credit_ppm,
        availability_ppm=availability,
        ttft_p95_ms=ttft,
        requests_min=least,
    )
    made = judge(objective, MONTH, found)
    assert made == judge(objective, MONTH, found[::-1])
    for each in made:
        assert 0 <= each.credit_nano_usd <= each.base_nano_usd <= each.spent_nano_usd
        assert each.credit_nano_usd == each.base_nano_usd * credit_ppm // 1_000_000
        assert (each.base_nano_usd == 0) or each.missed
        assert 0 <= each.failed <= each.requests
    spent = sum(each.spent_nano_usd for each in made)
    assert spent <= sum(row.charged_nano_usd for row in found)

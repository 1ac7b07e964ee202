"""A node's counters against the ledger."""

from __future__ import annotations

import msgspec
import pytest

from metering.finding import FindingKind
from metering.reconcile import LAG_NS, NodeSum, Reading, Verdict, compare, span_ns, unread

BEFORE = Reading(
    node_id="n",
    supplier_id="s",
    model="m",
    read_ns=10**10,
    done_ns=10**10 + 5,
    epoch=7,
    prompt_tokens=1000,
    completion_tokens=2000,
    ledger_seq=3,
)


def after(**changes) -> Reading:
    return msgspec.structs.replace(BEFORE, read_ns=10**11, done_ns=10**11 + 5, **changes)


def test_a_counter_may_be_above_the_ledger():
    other_traffic = after(prompt_tokens=9000, completion_tokens=9000)
    found = compare(BEFORE, other_traffic, NodeSum(prompt_tokens=1, completion_tokens=2, charges=1))
    assert found.verdict is Verdict.AGREES
    assert found.finding is None
    assert (found.node_prompt_tokens, found.node_completion_tokens) == (8000, 7000)


@pytest.mark.parametrize(("prompt", "completion"), [(1006, 0), (0, 1006), (1006, 1006)])
def test_the_ledger_above_the_counter_is_a_finding(prompt, completion):
    now = after(prompt_tokens=2000, completion_tokens=3000)
    found = compare(
        BEFORE, now, NodeSum(prompt_tokens=prompt, completion_tokens=completion, charges=4)
    )
    assert found.verdict is Verdict.EXCEEDS
    finding = found.finding
    assert finding is not None
    assert finding.kind is FindingKind.NODE_COUNTERS
    assert (finding.expected, finding.claimed) == (1000, 1006)
    assert finding.evidence["charges"] == 4
    assert finding.found_ns == now.read_ns


def test_what_is_nobodys_profit_is_no_finding():
    now = after(prompt_tokens=2000, completion_tokens=3000)
    found = compare(BEFORE, now, NodeSum(prompt_tokens=1005, completion_tokens=1005))
    assert found.verdict is Verdict.AGREES


@pytest.mark.parametrize(
    "changes",
    [
        {"prompt_tokens": 999},
        {"completion_tokens": 1999},
        {"epoch": 8, "prompt_tokens": 5000, "completion_tokens": 5000},
    ],
)
def test_counters_that_began_anew_say_nothing(changes):
    found = compare(BEFORE, after(**changes), NodeSum(prompt_tokens=10**6))
    assert found.verdict is Verdict.RESTARTED
    assert found.finding is None


def test_a_first_reading_and_none():
    assert compare(None, BEFORE, NodeSum(prompt_tokens=10**6)).verdict is Verdict.FIRST
    assert unread("n", "s", "m", "refused").finding is None


def test_only_what_lies_between_both_readings_counts():
    assert span_ns(BEFORE, after()) == (BEFORE.done_ns, 10**11 - LAG_NS)

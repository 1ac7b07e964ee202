"""Findings and readings in a database of either kind: written once, paged, never changed."""

from __future__ import annotations

import msgspec
import pytest

from metering.finding import Finding, FindingKind
from metering.finding_store import FindingStore
from metering.ledger import LedgerError
from metering.reading_store import ReadingStore
from metering.reconcile import NodeSum, Reading


def finding(number: int, **changes) -> Finding:
    made = Finding(
        finding_id=f"f{number}",
        kind=FindingKind.PROMPT_COUNT,
        node_id="n",
        supplier_id="s",
        model="m",
        request_id=f"r{number}",
        expected=10,
        claimed=20,
        evidence={"counted": 9, "of": "prompt"},
        found_ns=number,
    )
    return msgspec.structs.replace(made, **changes)


READING = Reading(
    node_id="n",
    supplier_id="s",
    model="m",
    read_ns=5,
    done_ns=6,
    epoch=0,
    prompt_tokens=1,
    completion_tokens=2**60,
    ledger_seq=3,
)


def test_findings_come_back_as_they_were_the_newest_first(database):
    store = FindingStore(database)
    drift = finding(3, kind=FindingKind.PROMPT_DRIFT, request_id=None, node_id="other")
    store.add([finding(1), finding(2)])
    store.add([drift])
    assert [found for _, found in store.newest(limit=9)] == [drift, finding(2), finding(1)]
    assert [found for _, found in store.newest(limit=1)] == [drift]
    assert [found for _, found in store.newest(node_id="n", limit=9)] == [finding(2), finding(1)]
    kind = FindingKind.PROMPT_DRIFT
    assert [found for _, found in store.newest(kind=kind, limit=9)] == [drift]
    ((seq, _),) = store.newest(node_id="n", limit=1)
    assert [found for _, found in store.newest(before_seq=seq, limit=9)] == [finding(1)]
    assert store.counts() == {("n", "prompt_count"): 2, ("other", "prompt_drift"): 1}


def test_the_same_finding_again_changes_nothing(database):
    store = FindingStore(database)
    store.add([finding(1)])
    store.add([finding(1, claimed=99), finding(2)])
    assert [found for _, found in store.newest(limit=9)] == [finding(2), finding(1)]


@pytest.mark.parametrize(
    "statement",
    ["UPDATE finding SET claimed = 1", "DELETE FROM finding", "DELETE FROM node_reading"],
)
def test_nothing_is_changed_or_deleted(database, statement):
    FindingStore(database).add([finding(1)])
    ReadingStore(database).add(READING)
    with pytest.raises(LedgerError, match="never"):
        database.query(statement)


def test_the_last_reading_of_a_node(database):
    store = ReadingStore(database)
    assert store.last("n") is None
    later = msgspec.structs.replace(READING, read_ns=7)
    for reading in (READING, later, msgspec.structs.replace(READING, node_id="o", read_ns=9)):
        store.add(reading)
    store.add(msgspec.structs.replace(later, prompt_tokens=9))
    assert store.last("n") == later


def test_only_claims_of_the_node_within_the_time_are_summed(database):
    """Inserted as rows, for their times and sources are what matters."""
    charges = [
        (1, "n", 10, 20, "node", 100, 200),
        (2, "n", 1, 2, "counted", 150, 180),
        (3, "n", 50, 50, "node", 99, 150),  # began before
        (4, "n", 50, 50, "node", 150, 201),  # ended after
        (5, "n", 50, 50, "estimated", 150, 180),  # our own estimate
        (6, "o", 50, 50, "node", 150, 180),
        (7, "n", 100, 200, "node", 150, 180),
    ]
    for seq, node, prompt, completion, source, created_ns, closed_ns in charges:
        database.query(
            "INSERT INTO charge (seq, charge_id, request_id, account, key_id, model, node_id,"
            " supplier_id, prompt_tokens, cached_tokens, completion_tokens, reasoning_tokens,"
            " usage_source, price_version, cost_nano_usd, charged_nano_usd, outcome, created_ns,"
            " closed_ns) VALUES (?, 'c', 'r', 'a', 'k', 'm', ?, 's', ?, 0, ?, 0, ?, 'v', 0, 0,"
            " 'completed', ?, ?)",
            seq,
            node,
            prompt,
            completion,
            source,
            created_ns,
            closed_ns,
        )
    store = ReadingStore(database)
    whole = NodeSum(prompt_tokens=111, completion_tokens=222, charges=3)
    assert store.sum_of("n", 0, 100, 200) == whole
    behind = NodeSum(prompt_tokens=101, completion_tokens=202, charges=2)
    assert store.sum_of("n", 1, 100, 200) == behind
    assert store.sum_of("nobody", 0, 100, 200) == NodeSum()

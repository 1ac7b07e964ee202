"""A charge's states: which rows count, and what a crash leaves."""

from __future__ import annotations

import msgspec
from books import closed, opened, progressed, used

from metering.charge import ChargeOutcome, OpenCharges, Row, finished
from metering.usage import UsageSource


def test_a_charge_opens_once_and_closes_once():
    charges = OpenCharges()
    opening = opened("c1")
    assert charges.take(opening) is opening
    assert charges.take(opened("c1", hold=5)) is None
    assert charges.take(closed("c1", used(3))) is opening
    assert charges.take(closed("c1")) is None
    assert charges.take(closed("c2")) is None
    assert len(charges) == 0


def test_progress_books_nothing_and_needs_an_open_charge():
    charges = OpenCharges()
    assert charges.take(progressed("c1", 4)) is None
    assert charges.rows() == []
    charges.take(opened("c1"))
    assert charges.take(progressed("c1", 4)) is None
    assert charges.rows() == [opened("c1"), progressed("c1", 4)]


def test_its_rows_lead_to_the_same_state():
    charges = OpenCharges()
    for row in (opened("a"), opened("b"), progressed("b", 1), progressed("b", 2), opened("c")):
        charges.take(row)
    charges.take(closed("a"))
    again = OpenCharges()
    for row in charges.rows():
        again.take(row)
    assert again.closed_by_crash(9) == charges.closed_by_crash(9)
    assert len(again) == 2


def test_a_crash_bills_the_last_progress_and_nothing_without_one():
    charges = OpenCharges()
    for row in (opened("a"), opened("b"), progressed("b", 1), progressed("b", 2)):
        charges.take(row)
    free, billed = charges.closed_by_crash(now_ns=77)
    assert free.usage is None
    assert free.usage_source is None
    assert free.node_id is None
    assert billed.usage == used(2)
    assert billed.usage_source is UsageSource.COUNTED
    assert billed.node_id == "node-1"
    assert {close.outcome for close in (free, billed)} == {ChargeOutcome.GATEWAY_CRASH}
    assert {close.closed_ns for close in (free, billed)} == {77}


def test_a_record_tells_cost_and_payment():
    record = finished(opened("c", hold=1000), closed("c", used(5)))
    assert record.cost_nano_usd == 10 * 200 + 5 * 600
    assert record.charged_nano_usd == 1000
    assert record.usage_source is UsageSource.NODE


def test_a_voided_record_costs_nothing_and_has_no_source():
    record = finished(opened("c"), closed("c"))
    assert (record.cost_nano_usd, record.charged_nano_usd, record.usage_source) == (0, 0, None)
    assert (record.prompt_tokens, record.completion_tokens) == (0, 0)


def test_rows_survive_the_way_to_the_disk():
    rows: list[Row] = [opened("c"), progressed("c", 3), closed("c", used(9)), closed("d")]
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(rows), type=list[Row]) == rows


def test_rows_written_before_a_field_was_added_can_still_be_read():
    """The bytes are those of this version: reading them must work for ever."""
    old = (
        b"\x91\x9a\xa4open\xa1c\xa5req_c\xa5alice\xa5key_1\xa4tiny"
        b"\x95\xa2v1\xcc\xc82\xcd\x02X\x00\xce\x00\x0fB@\x0a\xcf\x17\x97\x9c\xfe6*\x00\x00"
    )
    assert msgspec.msgpack.decode(old, type=list[Row]) == [opened("c")]

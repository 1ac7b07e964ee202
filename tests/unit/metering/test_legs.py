"""A charge that several nodes earned: divided by node, paid once, whenever a crash comes."""

from __future__ import annotations

from contextlib import closing

import pytest
from books import closed, deposit, opened, used
from msgspec.structs import replace

from metering.accounts import USD_FEE_VAULT, USD_SHORTFALL, customer
from metering.charge import ChargeOutcome, ChargeProgress, Leg, OpenCharges, finished
from metering.legs import parts_of
from metering.posting import cost_of
from metering.prices import named_price
from metering.ready_rows import make_ready
from metering.sqlite_ledger import SqliteLedger
from metering.usage import Usage

LEGS = (
    Leg(node_id="a", supplier_id="sup-a", usage=used(3)),
    Leg(node_id="b", supplier_id="sup-b", usage=used(4, prompt=0)),
)
CLOSE = replace(closed("c", used(12)), legs=LEGS)
OPEN = opened("c")


def post(ledger, *rows, charges: OpenCharges | None = None) -> None:
    ready = make_ready(rows, 0, OpenCharges() if charges is None else charges, 0)
    assert all(result.booked for result in ledger.post("g", ready.groups))


def test_every_node_has_a_charge_of_its_own_and_only_the_last_is_the_request():
    records = [finished(*part) for part in parts_of(OPEN, CLOSE)]
    assert [record.charge_id for record in records] == ["c", "c.2", "c.3"]
    assert [record.node_id for record in records] == ["a", "b", "node-1"]
    assert [record.supplier_id for record in records] == ["sup-a", "sup-b", "sup-1"]
    assert [record.prompt_tokens for record in records] == [10, 0, 0]
    assert [record.completion_tokens for record in records] == [3, 4, 5]
    assert [record.outcome for record in records] == ["resumed", "resumed", "completed"]
    assert [record.ttft_ns for record in records] == [None, None, CLOSE.ttft_ns]
    assert {record.request_id for record in records} == {OPEN.request_id}
    assert sum(record.charged_nano_usd for record in records) == cost_of(OPEN, CLOSE)


def test_the_price_of_the_request_is_paid_once():
    price = named_price(200, 50, 600, 1_000)
    charge = replace(OPEN, price=price)
    records = [finished(*part) for part in parts_of(charge, CLOSE)]
    assert sum(record.cost_nano_usd for record in records) == cost_of(charge, CLOSE)
    assert [record.price_version for record in records] == [price.version, *["200/50/600"] * 2]


@pytest.mark.parametrize("hold", [0, 1_000, 4_000, 6_000, 10**6])
def test_all_nodes_together_never_cost_more_than_the_hold(hold):
    charge = replace(OPEN, hold_nano_usd=hold)
    records = [finished(*part) for part in parts_of(charge, CLOSE)]
    whole = finished(charge, CLOSE)
    assert sum(record.charged_nano_usd for record in records) == whole.charged_nano_usd
    assert sum(record.cost_nano_usd for record in records) == whole.cost_nano_usd


def test_what_is_free_or_of_one_node_is_not_divided():
    assert parts_of(OPEN, closed("c", used(3))) == [(OPEN, closed("c", used(3)))]
    free = replace(CLOSE, usage=None)
    assert parts_of(OPEN, free) == [(OPEN, free)]


@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize("credit", [6_000, 9_200, 10**6])
def test_the_ledger_pays_each_supplier_and_charges_once(tmp_path, at_once, credit):
    """With little credit too: what the hold released is there for the others."""
    charge = replace(OPEN, hold_nano_usd=min(credit, 10**6))
    with closing(SqliteLedger(tmp_path / "ledger.db")) as ledger:
        ledger.post("g", [deposit("alice", credit)])
        if at_once:
            post(ledger, charge, CLOSE)
        else:
            charges = OpenCharges()
            post(ledger, charge, charges=charges)
            post(ledger, CLOSE, charges=charges)
        cost = cost_of(charge, CLOSE)
        assert ledger.balance(customer("alice")).available == credit - min(credit, cost)
        assert ledger.balance(USD_FEE_VAULT).available == cost
        assert -ledger.balance(USD_SHORTFALL).available == max(0, cost - credit)
        served = ledger.charge_totals(0, ledger.last_seq())
        assert {each.supplier_id: each.completion_tokens for each in served} == {
            "sup-a": 3,
            "sup-b": 4,
            "sup-1": 5,
        }
        assert ledger.verify().ok


def test_a_crash_in_a_resumed_stream_charges_both_nodes_once(tmp_path):
    charges = OpenCharges()
    progress = ChargeProgress(
        charge_id="c", node_id="b", supplier_id="sup-b", usage=used(7), legs=LEGS[:1]
    )
    rows = [OPEN, replace(progress, usage=used(3), legs=()), progress]
    for row in rows:
        charges.take(row)
    (close,) = charges.closed_by_crash(9)
    records = [finished(*part) for part in parts_of(OPEN, close)]
    assert [record.outcome for record in records] == [
        ChargeOutcome.RESUMED,
        ChargeOutcome.GATEWAY_CRASH,
    ]
    assert [record.completion_tokens for record in records] == [3, 4]
    assert [record.node_id for record in records] == ["a", "b"]
    with closing(SqliteLedger(tmp_path / "ledger.db")) as ledger:
        ledger.post("g", [deposit("alice", 10**6)])
        post(ledger, *rows, close)
        post(ledger, *rows, close)  # should they come twice
        cost = cost_of(OPEN, close)
        assert ledger.balance(customer("alice")).available == 10**6 - cost
        assert close.usage == Usage(prompt_tokens=10, completion_tokens=7)

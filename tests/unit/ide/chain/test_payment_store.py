"""What was signed and paid in a database of either kind: once, within caps, never rewritten."""

from __future__ import annotations

import msgspec
import pytest

from ide.chain.chain import ChainError
from ide.chain.payment import Attempt, Opening, Payment, Spent, TransactionState
from ide.chain.payment_store import PaymentStore
from ide.chain.plan import CLOSING
from metering.ledger import LedgerError

ATTEMPT = Attempt(
    signature="sig-1",
    epoch=1,
    nonce_account="nonce-a",
    nonce="value-1",
    transaction=b"\x00bytes",
    io=30,
    lamports=5_000,
)
PAYMENTS = [Payment(epoch=1, supplier_id=f"s{n}", wallet=f"w{n}", io=10) for n in range(3)]


@pytest.fixture
def store(database):
    return PaymentStore(database, "chain-1")


def record(store, attempt=ATTEMPT, payments=PAYMENTS, *, io_max=None, lamports_max=None) -> None:
    store.record(attempt, payments, io_max=io_max, lamports_max=lamports_max, now_ns=1)


def end(store, state, signature="sig-1") -> None:
    store.end(signature, state, slot=7, error=None, now_ns=2)


def other(**changes) -> Attempt:
    return msgspec.structs.replace(ATTEMPT, **{"signature": "sig-2", "nonce": "value-2", **changes})


def test_what_was_written_down_comes_back_and_ends_once(store):
    record(store)
    assert store.live() == [ATTEMPT]
    assert store.last_nonces() == {"nonce-a": "value-1"}
    end(store, TransactionState.FINALIZED)
    end(store, TransactionState.FAILED)
    paid = store.payments(1)
    assert [each.payment for each in paid] == PAYMENTS
    assert {(each.state, each.slot) for each in paid} == {(TransactionState.FINALIZED, 7)}
    assert store.live() == []
    assert store.paid_by_supplier() == {"s0": 10, "s1": 10, "s2": 10}
    assert store.paid_by_wallet() == {"w0": 10, "w1": 10, "w2": 10}
    assert store.spent(1) == Spent(io=30, lamports=5_000)
    assert store.payments(2) == []


def test_nobody_is_signed_for_twice_and_no_nonce_is_used_twice(store):
    record(store)
    for attempt, payments in (
        (other(), PAYMENTS[:1]),
        (other(nonce="value-1"), []),
        (other(signature="sig-1"), []),
    ):
        with pytest.raises(ChainError, match="another process, which was quicker"):
            record(store, attempt, payments)
    assert store.live() == [ATTEMPT]
    end(store, TransactionState.FINALIZED)
    with pytest.raises(ChainError, match="another process"):
        record(store, other(), PAYMENTS[2:])


def test_what_failed_is_owed_again_but_its_fee_was_spent(store):
    record(store)
    end(store, TransactionState.FAILED)
    assert store.payments(1) == []
    assert store.spent(1) == Spent(io=0, lamports=5_000)
    record(store, other(), PAYMENTS)
    assert len(store.payments(1)) == 3


def test_caps_hold_over_all_transactions_of_an_epoch(store):
    record(store, io_max=30, lamports_max=5_000)
    with pytest.raises(ChainError, match=r"IO 30 \+ 1 > 30"):
        record(store, other(io=1, lamports=0), [], io_max=30, lamports_max=5_000)
    with pytest.raises(ChainError, match=r"lamports 5000 \+ 1 > 5000"):
        record(store, other(io=0, lamports=1), [], io_max=30, lamports_max=5_000)
    record(store, other(epoch=2), [], io_max=30, lamports_max=5_000)
    assert len(store.live()) == 2


def test_another_chain_knows_nothing_of_it(store, database):
    record(store)
    elsewhere = PaymentStore(database, "chain-2")
    assert elsewhere.live() == []
    assert elsewhere.payments(1) == []
    assert elsewhere.spent(1) == Spent(io=0, lamports=0)
    record(elsewhere, other(), PAYMENTS)
    end(elsewhere, TransactionState.FINALIZED, "sig-2")
    assert elsewhere.paid_by_supplier() == {"s0": 10, "s1": 10, "s2": 10}
    assert store.paid_by_supplier() == {}


def test_burns_are_told_apart(store):
    record(store, payments=[Payment(epoch=1, supplier_id=CLOSING, wallet="", io=30)])
    end(store, TransactionState.FINALIZED)
    assert store.paid_by_supplier() == {CLOSING: 30}
    assert store.paid_by_wallet() == {}


def test_the_latest_opening_counts(store):
    assert store.opening() is None
    first = Opening(
        chain="chain-1",
        mint="m",
        authority="a",
        supply_io=9,
        vault_io=8,
        paid_io=0,
        burned_io=0,
        reason="first payment",
        opened_ns=1,
    )
    store.open(first)
    second = msgspec.structs.replace(first, vault_io=7, reason="topped up")
    store.open(second)
    assert store.opening() == second


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE chain_transaction SET state = 'failed'",
        "UPDATE chain_payment SET io = 1",
        "DELETE FROM chain_payment",
        "DELETE FROM chain_transaction",
    ],
)
def test_what_was_paid_cannot_be_rewritten(store, database, statement):
    record(store)
    end(store, TransactionState.FINALIZED)
    with pytest.raises(LedgerError, match=r"never|only when"):
        database.query(statement)
    assert len(store.payments(1)) == 3

"""What deposits cost, what they are worth, and the transfers that book them."""

from __future__ import annotations

import pytest

from metering.accounts import IO_CIRCULATING, IO_TREASURY, USD_EXCHANGE, USD_TREASURY, customer
from metering.deposit import (
    DepositError,
    DepositMethod,
    DepositOrder,
    Fee,
    IoPrice,
    deposit_of,
    fee_nano_usd,
    order_group,
)
from metering.money import IO_UNIT, USD_UNIT
from metering.posting import deposit_group

ALICE = customer("alice")
PRICE = IoPrice(nano_usd=160_000_000, source="pyth", at_ns=1)
USDC_FEE = Fee(ppm=20_000)


def ordered(method=DepositMethod.USDC, **fields):
    fields = {"deposit_id": "d1", "account": "alice", "nano_usd": 100 * USD_UNIT} | fields
    return DepositOrder(method=method, **fields)


def in_io(**fields):
    fields = {"nano_usd": 0, "io": 10 * IO_UNIT, "io_price": PRICE} | fields
    return ordered(DepositMethod.IO, **fields)


def test_usdc_is_credited_whole_and_its_fee_taken_off():
    paid, fee = order_group(ordered(), USDC_FEE).transfers
    assert (paid.debit, paid.credit, paid.amount) == ("usd:external", ALICE, 100 * USD_UNIT)
    assert (fee.debit, fee.credit, fee.amount) == (ALICE, USD_TREASURY, 2 * USD_UNIT)


def test_io_is_credited_at_its_price_and_kept_by_the_treasury():
    paid, moved = order_group(in_io(), Fee()).transfers
    assert (paid.debit, paid.credit, paid.amount) == (USD_EXCHANGE, ALICE, 1_600_000_000)
    assert (moved.debit, moved.credit) == (IO_CIRCULATING, IO_TREASURY)
    assert moved.amount == 10 * IO_UNIT
    assert deposit_of(paid, 7).io_price == PRICE


def test_one_by_hand_is_what_it_always_was():
    order = ordered(DepositMethod.MANUAL)
    assert order_group(order, Fee()) == deposit_group("d1", "alice", 100 * USD_UNIT)


def test_what_was_booked_is_read_back_and_answers_the_order():
    for order in (
        ordered(DepositMethod.MANUAL),
        ordered(reference="5Kx"),
        in_io(),
        ordered(DepositMethod.CARD, deposit_id="ch_1", reference="ch_1"),
    ):
        fee = USDC_FEE if order.method is DepositMethod.USDC else Fee()
        deposit = deposit_of(order_group(order, fee).transfers[0], booked_ns=9)
        assert deposit.answers(order)
        assert deposit.booked_ns == 9
        assert deposit.net_nano_usd == deposit.nano_usd - deposit.fee_nano_usd


@pytest.mark.parametrize(
    ("paid", "fee", "taken"),
    [
        (100 * USD_UNIT, Fee(ppm=29_000, fixed_nano_usd=300_000_000), 3_200_000_000),
        (10_010_000_000, Fee(ppm=29_000, fixed_nano_usd=300_000_000), 600_000_000),  # 0.59029
        (10_000_000_000, Fee(ppm=1), 10_000_000),  # 0.00001, but cards pay in cents
    ],
)
def test_a_fee_is_rounded_up_to_what_its_method_can_move(paid, fee, taken):
    assert fee_nano_usd(DepositMethod.CARD, paid, fee) == taken


@pytest.mark.parametrize(
    ("order", "why"),
    [
        (ordered(nano_usd=0), "above 0"),
        (ordered(nano_usd=1_500), "smallest unit is 0.000001"),
        (ordered(nano_usd=1_000), "nothing would be left"),
        (ordered(io=5), "neither IO nor its price"),
        (ordered(deposit_id=""), "cannot be the id"),
        (ordered(deposit_id="a\nb"), "cannot be the id"),
        (ordered(reference="x" * 201), "at most 200"),
        (ordered(account="No"), "no account name"),
        (ordered(DepositMethod.CARD), "processor's reference"),
        (ordered(DepositMethod.CARD, nano_usd=1_000, reference="d1"), "smallest unit is 0.01"),
        (in_io(nano_usd=1), "none of USD"),
        (in_io(io=0), "above 0"),
        (in_io(io_price=None), "needs the price"),
        (in_io(io_price=IoPrice(nano_usd=0, source="x", at_ns=1)), "needs the price"),
        (in_io(io_price=IoPrice(nano_usd=5, source="", at_ns=1)), "needs the price"),
        (in_io(io=1, io_price=IoPrice(nano_usd=5, source="x", at_ns=1)), "worth a nano-USD"),
        (in_io(io=2**62, io_price=IoPrice(nano_usd=2**62, source="x", at_ns=1)), "do not fit"),
    ],
)
def test_what_cannot_be_is_refused(order, why):
    with pytest.raises(ValueError, match=why):
        order_group(order, USDC_FEE)


def test_a_fee_of_everything_is_refused():
    with pytest.raises(DepositError, match="nothing would be left"):
        fee_nano_usd(DepositMethod.USDC, USD_UNIT, Fee(ppm=1_000_000))

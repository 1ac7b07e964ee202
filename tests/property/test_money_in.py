"""Deposits and refunds of any kind, in any order: exact, and never above what came in."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from metering.accounts import (
    IO_CIRCULATING,
    IO_ISSUANCE,
    IO_TREASURY,
    USD_EXCHANGE,
    USD_EXTERNAL,
    USD_FEE_VAULT,
    USD_TREASURY,
    customer,
)
from metering.deposit import (
    UNIT_NANO_USD,
    DepositError,
    DepositMethod,
    DepositOrder,
    Fee,
    IoPrice,
    deposit_of,
    order_group,
)
from metering.reference_ledger import ReferenceLedger
from metering.refund import RefundOrder, refund_group, refund_of, refundable_nano_usd
from metering.transfer import Group, PostResult, Transfer, TransferKind

IO_SUPPLY = 10**16
ALICE = customer("alice")

fees = st.builds(Fee, ppm=st.integers(0, 200_000), fixed_nano_usd=st.integers(0, 10**9))
prices = st.builds(
    IoPrice, nano_usd=st.integers(1, 10**12), source=st.just("pyth"), at_ns=st.just(1)
)


@st.composite
def orders(draw: st.DrawFn) -> DepositOrder:
    method = draw(st.sampled_from(DepositMethod))
    if method is DepositMethod.IO:
        io = draw(st.integers(1, 10**13))
        return DepositOrder(
            deposit_id="d", account="alice", method=method, io=io, io_price=draw(prices)
        )
    units = draw(st.integers(1, 10**6))
    reference = "d" if method is DepositMethod.CARD else ""
    nano_usd = units * UNIT_NANO_USD[method]
    return DepositOrder(
        deposit_id="d", account="alice", method=method, nano_usd=nano_usd, reference=reference
    )


def single(name: str, debit: str, credit: str, amount: int) -> Group:
    transfer = Transfer(
        id=name, kind=TransferKind.SINGLE, debit=debit, credit=credit, amount=amount, code="x"
    )
    return Group(transfers=(transfer,))


def posted(ledger: ReferenceLedger, account: str) -> int:
    return ledger.balance(account).posted


@given(
    orders(),
    fees,
    st.lists(
        st.tuples(st.none() | st.floats(0, 1.2), st.floats(0, 0.4), st.booleans()), max_size=8
    ),
)
def test_refunds_give_back_in_kind_and_never_more(order, fee, steps):
    ledger = ReferenceLedger()
    ledger.post("w", [single("issue", IO_ISSUANCE, IO_CIRCULATING, IO_SUPPLY)])
    try:
        group = order_group(order, fee)
    except DepositError:
        return  # nothing would be left, or worth too little
    assert ledger.post("w", [group]) == [PostResult.OK]
    deposit = deposit_of(group.transfers[0], 1)
    unit = UNIT_NANO_USD[deposit.method]
    assert deposit.net_nano_usd > 0
    assert deposit.net_nano_usd % unit == 0
    assert posted(ledger, ALICE) == deposit.net_nano_usd
    assert posted(ledger, USD_TREASURY) == deposit.fee_nano_usd
    assert posted(ledger, IO_TREASURY) == deposit.io
    made = []
    for number, (part, spent, returns_fee) in enumerate(steps):
        available = ledger.balance(ALICE).available
        ledger.post("w", [single(f"s{number}", ALICE, USD_FEE_VAULT, int(available * spent))])
        available = ledger.balance(ALICE).available
        most = refundable_nano_usd(deposit, made, available)
        wanted = None if part is None else int(most * part) // unit * unit
        refund = RefundOrder(refund_id=f"r{number}", nano_usd=wanted)
        try:
            group = refund_group(
                deposit, made, refund, available_nano_usd=available, returns_fee=returns_fee
            )
        except DepositError:
            assert wanted is None or wanted > most or wanted == 0 or deposit.io
            continue
        assert ledger.post("w", [group]) == [PostResult.OK]
        made.append(refund_of(group.transfers[0], 2))
        assert made[-1].answers(refund)
        assert made[-1].nano_usd <= min(most, available)
        assert made[-1].paid_nano_usd % unit == 0
    given_back = sum(refund.nano_usd for refund in made)
    fee_back = sum(refund.fee_back_nano_usd for refund in made)
    io_back = sum(refund.io for refund in made)
    assert given_back <= deposit.net_nano_usd
    assert 0 <= fee_back <= deposit.fee_nano_usd
    assert 0 <= io_back <= deposit.io
    assert posted(ledger, USD_TREASURY) == deposit.fee_nano_usd - fee_back
    assert posted(ledger, IO_TREASURY) == deposit.io - io_back
    if given_back == deposit.net_nano_usd:
        assert io_back == deposit.io
        assert fee_back == deposit.fee_nano_usd or not all(back for *_, back in steps)
    came_from = USD_EXCHANGE if deposit.method is DepositMethod.IO else USD_EXTERNAL
    assert posted(ledger, came_from) == given_back + fee_back - deposit.nano_usd
    assert ledger.verify().ok

"""Money out again: part of a deposit or all of it, by the way it came.

    manual, usdc, card   usd:customer:A -> usd:external    usd:treasury -> usd:external    its fee
    io                   usd:customer:A -> usd:exchange    io:treasury -> io:circulating

Refunds of a deposit are numbered from 1 and the number is in the ids, so of two that are worked out
at the same time from the same state only one can be booked: together they can never exceed it.

What goes back beside the amount itself, IO or part of a fee, is its share of the deposit's, rounded
down over all refunds so far: the network keeps what is less than a unit until the last refund, and
a deposit refunded whole has given back exactly what came. IO goes back at the deposit's own price.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from metering import accounts
from metering.deposit import (
    UNIT_NANO_USD,
    Deposit,
    DepositError,
    DepositMethod,
    check_id,
    check_text,
    check_unit,
)
from metering.money import format_usd, mul_div_floor
from metering.transfer import Group, Transfer, TransferKind

CODE_REFUND = "refund"
CODE_REFUND_FEE = "refund_fee"
CODE_REFUND_IO = "refund_io"


class RefundOrder(msgspec.Struct, frozen=True, kw_only=True):
    """What someone wants back of a deposit. An id stands for one refund of it.

    `nano_usd` is what leaves the balance; None is all that can.
    """

    refund_id: str
    nano_usd: int | None
    reference: str = ""


class Refund(msgspec.Struct, frozen=True, kw_only=True):
    """A refund as the books have it: `nano_usd` off the balance, and what was paid for it."""

    refund_id: str
    deposit_id: str
    account: str
    method: DepositMethod
    number: int
    nano_usd: int
    fee_back_nano_usd: int
    io: int
    reference: str
    ordered_nano_usd: int | None
    """What was ordered; None: all that could be."""
    booked_ns: int

    @property
    def paid_nano_usd(self) -> int:
        """What left in USD; nothing of a deposit in IO, which goes back as IO."""
        in_io = self.method is DepositMethod.IO
        return 0 if in_io else self.nano_usd + self.fee_back_nano_usd

    def answers(self, order: RefundOrder) -> bool:
        return (self.refund_id, self.ordered_nano_usd, self.reference) == (
            order.refund_id,
            order.nano_usd,
            order.reference,
        )


class _Facts(msgspec.Struct, frozen=True, kw_only=True):
    """The detail of a refund's first transfer."""

    deposit_id: str
    refund_id: str
    method: DepositMethod
    number: int
    fee_back_nano_usd: int
    io: int
    reference: str
    ordered_nano_usd: int | None


def refund_transfer_id(deposit_id: str, number: int) -> str:
    """The number comes first: a deposit's id may hold anything."""
    return f"refund:{number}:{deposit_id}"


def refundable_nano_usd(deposit: Deposit, made: Sequence[Refund], available_nano_usd: int) -> int:
    """The most that can be refunded now, in whole units of the method."""
    left = deposit.net_nano_usd - sum(refund.nano_usd for refund in made)
    unit = UNIT_NANO_USD[deposit.method]
    return mul_div_floor(max(0, min(left, available_nano_usd)), 1, unit) * unit


def refund_group(
    deposit: Deposit,
    made: Sequence[Refund],
    order: RefundOrder,
    *,
    available_nano_usd: int,
    returns_fee: bool,
) -> Group:
    """The transfers of the next refund, linked. Raises DepositError.

    `made` are the deposit's refunds so far; `available_nano_usd` is the customer's own money that
    is not on hold.
    """
    check_id("refund", order.refund_id)
    check_text("reference", order.reference)
    amount = _amount(deposit, made, order, available_nano_usd)
    before = sum(refund.nano_usd for refund in made)
    total = before + amount
    io = _share(deposit.io, total, deposit) - sum(refund.io for refund in made)
    fee_back = 0
    if returns_fee:
        # Refunds made while fees were kept are made up for by no later one.
        fee_back = _share(deposit.fee_nano_usd, total, deposit) - _share(
            deposit.fee_nano_usd, before, deposit
        )
    if deposit.method is DepositMethod.IO and io == 0:
        raise DepositError(
            f"{format_usd(amount)} USD are less than one base unit of IO at this deposit's price"
        )
    facts = _Facts(
        deposit_id=deposit.deposit_id,
        refund_id=order.refund_id,
        method=deposit.method,
        number=len(made) + 1,
        fee_back_nano_usd=fee_back,
        io=io,
        reference=order.reference,
        ordered_nano_usd=order.nano_usd,
    )
    return Group(transfers=_transfers(deposit, amount, facts))


def _amount(
    deposit: Deposit, made: Sequence[Refund], order: RefundOrder, available_nano_usd: int
) -> int:
    most = refundable_nano_usd(deposit, made, available_nano_usd)
    amount = most if order.nano_usd is None else order.nano_usd
    if order.nano_usd is not None:
        check_unit(deposit.method, amount)
    if amount > most or amount == 0:
        left = deposit.net_nano_usd - sum(refund.nano_usd for refund in made)
        raise DepositError(
            f"at most {format_usd(most)} USD of deposit '{deposit.deposit_id}' can be refunded: "
            f"{format_usd(left)} of it are not refunded yet, and {format_usd(available_nano_usd)} "
            f"are available to '{deposit.account}'"
        )
    return amount


def _share(whole: int, refunded_nano_usd: int, deposit: Deposit) -> int:
    """Of the deposit's IO or fee, in the units that its method can move, rounded down."""
    unit = 1 if deposit.method is DepositMethod.IO else UNIT_NANO_USD[deposit.method]
    return mul_div_floor(whole, refunded_nano_usd, deposit.net_nano_usd * unit) * unit


def _transfers(deposit: Deposit, amount: int, facts: _Facts) -> tuple[Transfer, ...]:
    in_io = deposit.method is DepositMethod.IO
    legs = [
        Transfer(
            id=refund_transfer_id(deposit.deposit_id, facts.number),
            kind=TransferKind.SINGLE,
            debit=accounts.customer(deposit.account),
            credit=accounts.USD_EXCHANGE if in_io else accounts.USD_EXTERNAL,
            amount=amount,
            code=CODE_REFUND,
            detail=msgspec.json.encode(facts, order="sorted").decode(),
        )
    ]
    if facts.fee_back_nano_usd:
        legs.append(
            Transfer(
                id=f"refund-fee:{facts.number}:{deposit.deposit_id}",
                kind=TransferKind.SINGLE,
                debit=accounts.USD_TREASURY,
                credit=accounts.USD_EXTERNAL,
                amount=facts.fee_back_nano_usd,
                code=CODE_REFUND_FEE,
            )
        )
    if facts.io:
        legs.append(
            Transfer(
                id=f"refund-io:{facts.number}:{deposit.deposit_id}",
                kind=TransferKind.SINGLE,
                debit=accounts.IO_TREASURY,
                credit=accounts.IO_CIRCULATING,
                amount=facts.io,
                code=CODE_REFUND_IO,
            )
        )
    return tuple(legs)


def refund_of(transfer: Transfer, booked_ns: int) -> Refund:
    """The refund whose first transfer this is."""
    facts = msgspec.json.decode(transfer.detail, type=_Facts)
    account = accounts.customer_name(transfer.debit)
    assert account is not None, transfer
    return Refund(
        refund_id=facts.refund_id,
        deposit_id=facts.deposit_id,
        account=account,
        method=facts.method,
        number=facts.number,
        nano_usd=transfer.amount,
        fee_back_nano_usd=facts.fee_back_nano_usd,
        io=facts.io,
        reference=facts.reference,
        ordered_nano_usd=facts.ordered_nano_usd,
        booked_ns=booked_ns,
    )

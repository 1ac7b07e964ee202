"""Deposits and refunds in the books: made once by their ids, listed and found again.

They have no table of their own: a deposit is its transfers, so it is covered by the hash chain and
cannot say anything else than the balances do.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from metering import accounts
from metering.credit_line import line_nano_usd
from metering.database import Database
from metering.deposit import (
    ConflictError,
    Deposit,
    DepositError,
    DepositMethod,
    DepositOrder,
    Fee,
    UnknownDepositError,
    check_order,
    deposit_of,
    order_group,
)
from metering.ledger import Balance, Ledger
from metering.money import format_io
from metering.movements import SEQ_MAX, Movements
from metering.posting import CODE_DEPOSIT
from metering.refund import (
    Refund,
    RefundOrder,
    refund_group,
    refund_of,
    refund_transfer_id,
    refundable_nano_usd,
)
from metering.transfer import BookedTransfer, Group, PostResult

_REFUNDS_AT_ONCE = 16
_TRIES_MAX = 20
"""Of a refund beside others of its deposit: each failure is another's success."""


class BookedDeposit(msgspec.Struct, frozen=True, kw_only=True):
    """A deposit, its refunds, and its place in the ledger, by which lists go on."""

    deposit: Deposit
    refunds: tuple[Refund, ...]
    seq: int


class DepositBook:
    """Thread-safe. Methods raise LedgerError when the ledger cannot answer.

    `writer` names the chain to book on. `open_supply` issues the IO of an empty ledger: before that
    there is none that a customer could pay with.
    """

    def __init__(
        self, ledger: Ledger, database: Database, writer: str, open_supply: Callable[[], None]
    ) -> None:
        self._ledger = ledger
        self._movements = Movements(database)
        self._writer = writer
        self._open_supply = open_supply

    def deposit(self, order: DepositOrder, fee: Fee) -> tuple[BookedDeposit, bool]:
        """The deposit, and whether this made it; a repeat changes nothing, whatever fees are now.

        Raises DepositError, ConflictError if the id stands for another one, and AccountError.
        """
        check_order(order)
        known = self.find(order.deposit_id)
        if known is None:
            group = order_group(order, fee)
            if order.method is DepositMethod.IO:
                self._open_supply()
            (result,) = self._ledger.post(self._writer, [group])
            known = self.find(order.deposit_id)
            if known is None:
                raise _refused(result, group)
            if result is PostResult.OK:
                return known, True
        if not known.deposit.answers(order):
            raise ConflictError(
                f"deposit '{order.deposit_id}' was booked before {_difference(known, order)}, and "
                "stays as it is: a new deposit needs a new id"
            )
        return known, False

    def refund(
        self, deposit_id: str, order: RefundOrder, *, returns_fee: bool
    ) -> tuple[Refund, bool]:
        """The refund, and whether this made it. An id stands for one refund of its deposit.

        Raises DepositError; of it UnknownDepositError and ConflictError.
        """
        for _ in range(_TRIES_MAX):
            booked = self.get(deposit_id)
            for refund in booked.refunds:
                if refund.refund_id == order.refund_id:
                    return _same(refund, order), False
            group = refund_group(
                booked.deposit,
                booked.refunds,
                order,
                available_nano_usd=self.own_nano_usd(booked.deposit.account),
                returns_fee=returns_fee,
            )
            (result,) = self._ledger.post(self._writer, [group])
            if result is PostResult.OK:
                name = group.transfers[0].id
                return _refund(self._movements.by_id(name)[name]), True
            if not _was_beaten(result):
                raise _refused(result, group)
        raise DepositError(f"deposit '{deposit_id}' is being refunded by many at once: try again")

    def refundable_nano_usd(self, booked: BookedDeposit) -> int:
        available = self.own_nano_usd(booked.deposit.account)
        return refundable_nano_usd(booked.deposit, booked.refunds, available)

    def own_nano_usd(self, account: str) -> int:
        """What is available to a customer less its credit line: only its own can be refunded."""
        customer, lender = accounts.customer(account), accounts.credit_line(account)
        balances = self._ledger.balances([customer, lender])
        line = line_nano_usd(balances.get(lender, Balance()))
        return balances.get(customer, Balance()).available - line

    def get(self, deposit_id: str) -> BookedDeposit:
        """Raises UnknownDepositError."""
        found = self.find(deposit_id)
        if found is None:
            raise UnknownDepositError(f"there is no deposit '{deposit_id[:100]}'")
        return found

    def find(self, deposit_id: str) -> BookedDeposit | None:
        name = f"{CODE_DEPOSIT}:{deposit_id}"
        found = self._movements.by_id(name)
        return self._with_refunds(found[name]) if found else None

    def deposits(
        self, account: str, *, limit: int, before_seq: int = SEQ_MAX
    ) -> list[BookedDeposit]:
        """An account's, newest first. Raises AccountError."""
        name = accounts.customer(account)
        rows = self._movements.newest(name, CODE_DEPOSIT, before_seq=before_seq, limit=limit)
        return [self._with_refunds(row) for row in rows]

    def _with_refunds(self, row: BookedTransfer) -> BookedDeposit:
        deposit = deposit_of(row.transfer, row.booked_ns)
        return BookedDeposit(
            deposit=deposit, refunds=tuple(self._refunds(deposit.deposit_id)), seq=row.seq
        )

    def _refunds(self, deposit_id: str) -> list[Refund]:
        """Numbered without a gap, so the first that is missing ends them."""
        refunds: list[Refund] = []
        while True:
            numbers = range(len(refunds) + 1, len(refunds) + 1 + _REFUNDS_AT_ONCE)
            ids = [refund_transfer_id(deposit_id, number) for number in numbers]
            found = self._movements.by_id(*ids)
            refunds += [_refund(found[name]) for name in ids if name in found]
            if len(found) < _REFUNDS_AT_ONCE:
                return refunds


def _refund(row: BookedTransfer) -> Refund:
    return refund_of(row.transfer, row.booked_ns)


def _same(refund: Refund, order: RefundOrder) -> Refund:
    if not refund.answers(order):
        raise ConflictError(
            f"refund '{order.refund_id}' of deposit '{refund.deposit_id}' was booked before with "
            "another amount or reference, and stays as it is: a new refund needs a new id"
        )
    return refund


def _was_beaten(result: PostResult) -> bool:
    """Another refund of the same deposit has the number, or this very one was booked elsewhere."""
    return result is PostResult.LINKED_FAILED or result.startswith("exists")


def _difference(known: BookedDeposit, order: DepositOrder) -> str:
    booked = known.deposit
    if booked.account != order.account:
        return "with another account"
    if booked.method is not order.method:
        return f"by another method ({booked.method})"
    if booked.io_price != order.io_price:
        return "at another price"
    if booked.reference != order.reference:
        return "with another reference"
    return "with another amount"


def _refused(result: PostResult, group: Group) -> DepositError:
    first = group.transfers[0]
    if result is PostResult.EXCEEDS_CREDITS and accounts.IO_CIRCULATING in _debits(group):
        io = format_io(group.transfers[-1].amount)
        return DepositError(f"{io} IO are more than circulate: nobody can have paid them")
    if result is PostResult.EXCEEDS_CREDITS and accounts.IO_TREASURY in _debits(group):
        return DepositError(
            "the treasury has not enough IO left to refund in kind, because some of it was burned; "
            "the customer's balance is as it was"
        )
    if result is PostResult.EXCEEDS_CREDITS:
        return DepositError(
            "the balance does not cover it any more: it was spent in the meantime, nothing is "
            "booked"
        )
    return DepositError(f"the ledger refused '{first.id}': {result}; nothing was booked")


def _debits(group: Group) -> set[str]:
    return {transfer.debit for transfer in group.transfers[1:]}

"""Post-paid credit: money that a customer was lent to spend. Pure.

A line of 50 USD is 50 USD moved from `usd:credit_line:<account>` to the customer's balance, where
it is spent like any other; lowering the line moves it back. So no rule of the books changes, and no
hold can exceed what there is. What is drawn is what the balance lacks of the line.
"""

from __future__ import annotations

from metering import accounts
from metering.ledger import Balance, Ledger
from metering.money import format_usd
from metering.transfer import Group, PostResult, Transfer, TransferKind

CODE_CREDIT_LINE = "credit_line"

_TRIES = 10


class CreditLineError(ValueError):
    """The line cannot be what was asked for."""


def line_nano_usd(source: Balance) -> int:
    """The line, from the balance of the account that it comes out of."""
    return -source.posted


def drawn_nano_usd(line: int, customer: Balance) -> int:
    """What of the line is spent: the debt."""
    return max(0, line - customer.posted)


def set_line(ledger: Ledger, writer: str, account: str, nano_usd: int) -> bool:
    """Raise or lower an account's line to this amount. False: it was that already.

    Raises CreditLineError if the line is drawn or on hold beyond it, AccountError, LedgerError.
    """
    if nano_usd < 0:
        raise CreditLineError(f"a credit line of {format_usd(nano_usd)} USD is below zero")
    for _ in range(_TRIES):
        group = _change(account, ledger.balance(accounts.credit_line(account)), nano_usd)
        if group is None:
            return False
        (result,) = ledger.post(writer, [group])
        if result is PostResult.OK:
            return True
        if result is PostResult.EXCEEDS_CREDITS:
            raise CreditLineError(_too_low(ledger, account, nano_usd))
        if result is PostResult.EXCEEDS_INT64:
            raise CreditLineError(f"a credit line of {format_usd(nano_usd)} USD is too large")
    raise CreditLineError(f"the credit line of '{account}' is being changed by others: try again")


def _change(account: str, source: Balance, nano_usd: int) -> Group | None:
    """The transfer from the line as it is to what it is to be. Its id is made of the former, so of
    two changes at the same time only one is booked.
    """
    rise = nano_usd - line_nano_usd(source)
    if rise == 0:
        return None
    lender, customer = accounts.credit_line(account), accounts.customer(account)
    transfer = Transfer(
        id=f"credit_line:{account}:{source.debits_posted}:{source.credits_posted}",
        kind=TransferKind.SINGLE,
        debit=lender if rise > 0 else customer,
        credit=customer if rise > 0 else lender,
        amount=abs(rise),
        code=CODE_CREDIT_LINE,
    )
    return Group(transfers=(transfer,))


def _too_low(ledger: Ledger, account: str, nano_usd: int) -> str:
    customer = ledger.balance(accounts.customer(account))
    line = line_nano_usd(ledger.balance(accounts.credit_line(account)))
    return (
        f"the credit line of '{account}' cannot be {format_usd(nano_usd)} USD: of its "
        f"{format_usd(line)} only {format_usd(customer.available)} is neither spent nor on hold. "
        "Book the customer's payment first, or lower it less"
    )

"""From a charge's rows to the groups that the ledger books, and what they do to its balance.

    open    pending   usd:customer:A -> usd:fee_vault    the hold
    close   post      of the hold                        min(cost, hold)
            single    usd:shortfall  -> usd:fee_vault    cost - hold, if the cost is above the hold
        or  void      of the hold                        if nothing is billed

Should the ledger refuse the hold (someone took the customer's money away in the meantime), it is
booked on usd:shortfall: what was served stays in the books, and the network bears it.
"""

from __future__ import annotations

from metering import accounts
from metering.charge import CloseCharge, OpenCharge, finished
from metering.prices import cost_nano_usd
from metering.transfer import Group, Transfer, TransferKind

CODE_HOLD = "hold"
CODE_CHARGE = "charge"
CODE_VOID = "void"
CODE_SHORTFALL = "shortfall"


def hold_group(charge: OpenCharge) -> Group:
    """Raises AccountError if the charge's account is none."""
    hold = Transfer(
        id=_hold_id(charge),
        kind=TransferKind.PENDING,
        debit=accounts.customer(charge.account),
        credit=accounts.USD_FEE_VAULT,
        amount=charge.hold_nano_usd,
        code=CODE_HOLD,
    )
    return Group(transfers=(hold,), bearer=accounts.USD_SHORTFALL)


def close_group(charge: OpenCharge, close: CloseCharge) -> Group:
    """Raises MoneyError if the cost does not fit 64 bits."""
    record = finished(charge, close)
    hold, cost = charge.hold_nano_usd, record.cost_nano_usd
    pending_id = _hold_id(charge)
    if close.usage is None:
        void = Transfer(
            id=f"{charge.charge_id}:void",
            kind=TransferKind.VOID,
            amount=0,
            code=CODE_VOID,
            pending_id=pending_id,
        )
        return Group(transfers=(void,), charge=record)
    post = Transfer(
        id=f"{charge.charge_id}:post",
        kind=TransferKind.POST,
        amount=min(cost, hold),
        code=CODE_CHARGE,
        pending_id=pending_id,
    )
    if cost <= hold:
        return Group(transfers=(post,), charge=record)
    return Group(transfers=(post, _shortfall(charge, cost - hold)), charge=record)


def cost_of(charge: OpenCharge, close: CloseCharge) -> int:
    """Nano-USD: what the close bills at the charge's own price. Raises MoneyError."""
    return 0 if close.usage is None else cost_nano_usd(charge.price, close.usage)


def change_of_open(charge: OpenCharge) -> int:
    """Nano-USD that an open adds to what its account has available (so, it is negative)."""
    return -charge.hold_nano_usd


def change_of_close(charge: OpenCharge, close: CloseCharge) -> int:
    """Nano-USD that a close gives back: the hold less what the customer pays of the cost."""
    cost = cost_of(charge, close)
    return charge.hold_nano_usd - min(cost, charge.hold_nano_usd)


def _hold_id(charge: OpenCharge) -> str:
    return f"{charge.charge_id}:hold"


def _shortfall(charge: OpenCharge, amount_nano_usd: int) -> Transfer:
    return Transfer(
        id=f"{charge.charge_id}:shortfall",
        kind=TransferKind.SINGLE,
        debit=accounts.USD_SHORTFALL,
        credit=accounts.USD_FEE_VAULT,
        amount=amount_nano_usd,
        code=CODE_SHORTFALL,
    )

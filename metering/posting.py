"""From a charge's rows to the groups that the ledger books, and what they do to its balance.

    deposit single    usd:external -> usd:customer:A         money in
    open    pending   usd:customer:A -> usd:fee_vault    the hold
    close   post      of the hold                        min(cost, hold)
            single    usd:shortfall  -> usd:fee_vault    cost - hold, if the cost is above the hold
        or  void      of the hold                        if nothing is billed
    never   expire    of the hold                        after a day, by whoever looks (expirer.py)

A charge that ends before its hold came to the books needs none: it is booked whole, as a single
transfer in place of hold and post. So is one that ends after its hold was expired.

Should the ledger refuse the customer's debit (someone took the money away in the meantime), it is
booked on usd:shortfall: what was served stays in the books, and the network bears it.
"""

from __future__ import annotations

from metering import accounts
from metering.charge import ChargeRecord, CloseCharge, OpenCharge, finished
from metering.expiry import expiry_detail
from metering.prices import cost_nano_usd
from metering.transfer import Group, Transfer, TransferKind

CODE_DEPOSIT = "deposit"
CODE_HOLD = "hold"
CODE_CHARGE = "charge"
CODE_VOID = "void"
CODE_SHORTFALL = "shortfall"

HOLD_NS = 24 * 3600 * 1_000_000_000
"""A day: far above the longest answer and an outage, and enough to bring a gateway back."""


def deposit_group(deposit_id: str, account: str, amount_nano_usd: int) -> Group:
    """Prepaid money for an account. The same id again is the same deposit. Raises AccountError."""
    deposit = Transfer(
        id=f"deposit:{deposit_id}",
        kind=TransferKind.SINGLE,
        debit=accounts.USD_EXTERNAL,
        credit=accounts.customer(account),
        amount=amount_nano_usd,
        code=CODE_DEPOSIT,
    )
    return Group(transfers=(deposit,))


def hold_group(charge: OpenCharge) -> Group:
    """Raises AccountError if the charge's account is none."""
    hold = Transfer(
        id=_hold_id(charge),
        kind=TransferKind.PENDING,
        debit=accounts.customer(charge.account),
        credit=accounts.USD_FEE_VAULT,
        amount=charge.hold_nano_usd,
        code=CODE_HOLD,
        detail=expiry_detail(charge.created_ns + HOLD_NS),
    )
    return Group(transfers=(hold,), bearer=accounts.USD_SHORTFALL)


def close_group(charge: OpenCharge, close: CloseCharge) -> Group:
    """Of a charge whose hold is booked. Raises MoneyError if the cost does not fit 64 bits."""
    record = finished(charge, close)
    voids = close.usage is None
    resolution = Transfer(
        id=f"{charge.charge_id}:{CODE_VOID if voids else CODE_CHARGE}",
        kind=TransferKind.VOID if voids else TransferKind.POST,
        amount=record.charged_nano_usd,
        code=CODE_VOID if voids else CODE_CHARGE,
        pending_id=_hold_id(charge),
    )
    return Group(
        transfers=_with_shortfall(resolution, record), charge=record, bearer=accounts.USD_SHORTFALL
    )


def whole_group(charge: OpenCharge, close: CloseCharge) -> Group:
    """Of a charge whose hold was never booked. Raises AccountError, MoneyError."""
    record = finished(charge, close)
    code = CODE_VOID if close.usage is None else CODE_CHARGE
    payment = Transfer(
        id=f"{charge.charge_id}:{code}",
        kind=TransferKind.SINGLE,
        debit=accounts.customer(charge.account),
        credit=accounts.USD_FEE_VAULT,
        amount=record.charged_nano_usd,
        code=code,
    )
    return Group(
        transfers=_with_shortfall(payment, record), charge=record, bearer=accounts.USD_SHORTFALL
    )


def cost_of(charge: OpenCharge, close: CloseCharge) -> int:
    """Nano-USD: what the close bills at the charge's own price. Raises MoneyError."""
    return 0 if close.usage is None else cost_nano_usd(charge.price, close.usage)


def _hold_id(charge: OpenCharge) -> str:
    return f"{charge.charge_id}:hold"


def _with_shortfall(paid: Transfer, record: ChargeRecord) -> tuple[Transfer, ...]:
    """The payment, and the leg for what the cost is above it."""
    if record.cost_nano_usd == paid.amount:
        return (paid,)
    rest = Transfer(
        id=f"{record.charge_id}:shortfall",
        kind=TransferKind.SINGLE,
        debit=accounts.USD_SHORTFALL,
        credit=accounts.USD_FEE_VAULT,
        amount=record.cost_nano_usd - paid.amount,
        code=CODE_SHORTFALL,
    )
    return (paid, rest)

"""Money in: what was asked for, what it costs, and the linked transfers that book it.

    manual   usd:external -> usd:customer:A                                    no fee
    usdc     usd:external -> usd:customer:A    usd:customer:A -> usd:treasury    gross, then fee
    card     usd:external -> usd:customer:A    usd:customer:A -> usd:treasury    gross, then fee
    io       usd:exchange -> usd:customer:A    io:circulating -> io:treasury     worth, then IO

All or none of them are booked. What the transfers do not say themselves (method, price and where it
came from) is the detail of the first, and so a part of the hash chain.

Who keeps what rounding leaves: a fee is rounded up to the smallest unit that its method can move,
the worth of IO down to the nano-USD; both are the network's gain, by less than one such unit.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from metering import accounts
from metering.money import (
    INT64_MAX,
    IO_UNIT,
    PPM,
    MoneyError,
    checked,
    format_io,
    format_usd,
    mul_div_ceil,
    mul_div_floor,
)
from metering.posting import CODE_DEPOSIT, deposit_group
from metering.transfer import Group, Transfer, TransferKind

CODE_DEPOSIT_FEE = "deposit_fee"
CODE_DEPOSIT_IO = "deposit_io"

ID_CHARS_MAX = 100
TEXT_CHARS_MAX = 200

_DEPOSIT = "deposit:"


class DepositError(ValueError):
    """A deposit or refund that cannot be: the message says why and what to do instead."""


class ConflictError(DepositError):
    """The id stands for something else already; nothing was changed."""


class UnknownDepositError(DepositError):
    """There is no such deposit."""


class DepositMethod(StrEnum):
    MANUAL = "manual"
    """The operator's word: a bank transfer, a gift, a correction."""
    USDC = "usdc"
    IO = "io"
    CARD = "card"


UNIT_NANO_USD = {
    DepositMethod.MANUAL: 1,
    DepositMethod.USDC: 1_000,
    DepositMethod.IO: 1,
    DepositMethod.CARD: 10_000_000,
}
"""The smallest amount that each method can move: USDC has 6 decimals, a card pays in cents."""


class IoPrice(msgspec.Struct, frozen=True, kw_only=True):
    """What one whole IO was worth, who said so, and when (wall clock)."""

    nano_usd: int
    source: str
    at_ns: int


class Fee(msgspec.Struct, frozen=True, kw_only=True):
    """Of a deposit: millionths of it, and so much each time."""

    ppm: int = 0
    fixed_nano_usd: int = 0


class DepositOrder(msgspec.Struct, frozen=True, kw_only=True):
    """What someone wants booked. An id stands for one deposit, whoever repeats it.

    `nano_usd` is what was paid, fee included; or `io` base units of IO were, at `io_price`.
    """

    deposit_id: str
    account: str
    method: DepositMethod
    nano_usd: int = 0
    io: int = 0
    io_price: IoPrice | None = None
    reference: str = ""
    """The payment's name elsewhere: a transaction, an invoice. A card's is the deposit's id too."""


class Deposit(msgspec.Struct, frozen=True, kw_only=True):
    """A deposit as the books have it. `nano_usd` is what was credited before the fee."""

    deposit_id: str
    account: str
    method: DepositMethod
    nano_usd: int
    fee_nano_usd: int
    io: int
    io_price: IoPrice | None
    reference: str
    booked_ns: int

    @property
    def net_nano_usd(self) -> int:
        """What the balance rose by, and the most that can be refunded of it."""
        return self.nano_usd - self.fee_nano_usd

    def answers(self, order: DepositOrder) -> bool:
        """Is this what was ordered? The fee is not compared: it may have changed since."""
        same_io = (self.io, self.io_price) == (order.io, order.io_price)
        usd = self.nano_usd if order.io_price is None else 0
        return (
            same_io
            and usd == order.nano_usd
            and (self.deposit_id, self.account) == (order.deposit_id, order.account)
            and (self.method, self.reference) == (order.method, order.reference)
        )


class _Facts(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The detail of a deposit's first transfer."""

    method: DepositMethod = DepositMethod.MANUAL
    fee_nano_usd: int = 0
    io: int = 0
    io_price: IoPrice | None = None
    reference: str = ""


def check_id(what: str, name: str) -> str:
    """The id itself. Raises DepositError if it is none."""
    if not 0 < len(name) <= ID_CHARS_MAX or not name.isprintable() or name != name.strip():
        raise DepositError(
            f"'{name[:ID_CHARS_MAX]}' cannot be the id of a {what}: use 1 to {ID_CHARS_MAX} "
            "printable characters"
        )
    return name


def check_order(order: DepositOrder) -> None:
    """Raises DepositError and AccountError."""
    by_card = order.method is DepositMethod.CARD
    if by_card and (not order.reference or order.reference != order.deposit_id):
        raise DepositError(
            "a card payment is booked once by its processor's reference, which is the deposit's "
            "id too: give the reference and leave the id out"
        )
    check_id("deposit", order.deposit_id)
    accounts.check_name(order.account)
    check_text("reference", order.reference)
    if order.method is DepositMethod.IO:
        _check_io(order)
        return
    if order.io or order.io_price is not None:
        raise DepositError(f"a deposit by {order.method} has neither IO nor its price")
    check_unit(order.method, order.nano_usd)


def check_unit(method: DepositMethod, nano_usd: int) -> None:
    """Can so much be moved by this method? Raises DepositError."""
    unit = UNIT_NANO_USD[method]
    if not 0 < nano_usd <= INT64_MAX:
        raise DepositError("the amount must be above 0 and fit the ledger's 64 bits")
    if nano_usd % unit:
        raise DepositError(
            f"{format_usd(nano_usd)} USD cannot be paid by {method}: its smallest unit is "
            f"{format_usd(unit)}"
        )


def check_text(what: str, text: str) -> None:
    if len(text) > TEXT_CHARS_MAX or not text.isprintable():
        raise DepositError(f"the {what} must be at most {TEXT_CHARS_MAX} printable characters")


def _check_io(order: DepositOrder) -> None:
    price = order.io_price
    if price is None or not 0 < price.nano_usd <= INT64_MAX or not price.source:
        raise DepositError("a deposit in IO needs the price of one IO in USD, its source and time")
    check_text("price's source", price.source)
    if order.nano_usd or not 0 < order.io <= INT64_MAX:
        raise DepositError("a deposit in IO is an amount of IO above 0, and none of USD")


def fee_nano_usd(method: DepositMethod, nano_usd: int, fee: Fee) -> int:
    """Rounded up to the method's smallest unit. Raises DepositError if nothing would be left."""
    unit = UNIT_NANO_USD[method]
    exact = mul_div_ceil(nano_usd, fee.ppm, PPM) + fee.fixed_nano_usd
    amount = mul_div_ceil(exact, 1, unit) * unit
    if amount >= nano_usd:
        raise DepositError(
            f"nothing would be left of {format_usd(nano_usd)} USD after the fee of "
            f"{format_usd(amount)}"
        )
    return amount


def worth_nano_usd(io: int, price: IoPrice) -> int:
    """Of IO base units, rounded down. Raises DepositError if it is not even one nano-USD."""
    try:
        worth = mul_div_floor(io, price.nano_usd, IO_UNIT)
    except MoneyError:
        raise DepositError(f"{format_io(io)} IO at that price do not fit the ledger") from None
    if worth == 0:
        raise DepositError(f"{format_io(io)} IO at that price are not worth a nano-USD")
    return worth


def order_group(order: DepositOrder, fee: Fee) -> Group:
    """The transfers of a new deposit, linked. Raises DepositError and AccountError."""
    check_order(order)
    if order.method is DepositMethod.IO:
        assert order.io_price is not None
        return _io_group(order, worth_nano_usd(order.io, order.io_price))
    taken = fee_nano_usd(order.method, order.nano_usd, fee) if fee != Fee() else 0
    facts = _Facts(method=order.method, fee_nano_usd=taken, reference=order.reference)
    paid = deposit_group(order.deposit_id, order.account, order.nano_usd).transfers[0]
    if facts == _Facts():
        return Group(transfers=(paid,))
    paid = msgspec.structs.replace(paid, detail=_detail(facts))
    if not taken:
        return Group(transfers=(paid,))
    fee_leg = Transfer(
        id=f"deposit-fee:{order.deposit_id}",
        kind=TransferKind.SINGLE,
        debit=accounts.customer(order.account),
        credit=accounts.USD_TREASURY,
        amount=taken,
        code=CODE_DEPOSIT_FEE,
    )
    return Group(transfers=(paid, fee_leg))


def _io_group(order: DepositOrder, worth: int) -> Group:
    facts = _Facts(
        method=order.method, io=order.io, io_price=order.io_price, reference=order.reference
    )
    credited = Transfer(
        id=_DEPOSIT + order.deposit_id,
        kind=TransferKind.SINGLE,
        debit=accounts.USD_EXCHANGE,
        credit=accounts.customer(order.account),
        amount=worth,
        code=CODE_DEPOSIT,
        detail=_detail(facts),
    )
    moved = Transfer(
        id=f"deposit-io:{order.deposit_id}",
        kind=TransferKind.SINGLE,
        debit=accounts.IO_CIRCULATING,
        credit=accounts.IO_TREASURY,
        amount=order.io,
        code=CODE_DEPOSIT_IO,
    )
    return Group(transfers=(credited, moved))


def deposit_of(transfer: Transfer, booked_ns: int) -> Deposit:
    """The deposit whose first transfer this is."""
    facts = msgspec.json.decode(transfer.detail or "{}", type=_Facts)
    account = accounts.customer_name(transfer.credit)
    assert account is not None, transfer
    return Deposit(
        deposit_id=transfer.id.removeprefix(_DEPOSIT),
        account=account,
        method=facts.method,
        nano_usd=checked(transfer.amount),
        fee_nano_usd=facts.fee_nano_usd,
        io=facts.io,
        io_price=facts.io_price,
        reference=facts.reference,
        booked_ns=booked_ns,
    )


def _detail(facts: _Facts) -> str:
    return msgspec.json.encode(facts, order="sorted").decode()

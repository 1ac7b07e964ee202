"""`tollgate account deposit`, `deposits` and `refund`: money in, and out again."""

from __future__ import annotations

import secrets
import time
from pathlib import Path

import click

from gateway.billing.objects import booked_object, deposit_object, refund_object
from gateway.cli.audited import audited
from gateway.cli.balance import balance_line
from gateway.cli.billing import open_billing
from gateway.cli.home import (
    AccountName,
    Usd,
    echo_json,
    echo_table,
    home_option,
    json_option,
    unknown_account,
)
from metering.accounts import customer
from metering.deposit import Deposit, DepositMethod, DepositOrder, IoPrice
from metering.ledger import PostResult
from metering.money import MoneyError, format_io, format_usd, parse_io, parse_usd
from metering.month import time_text
from metering.refund import RefundOrder
from metering.statement import PAID_BY

_NS = 1_000_000_000
_METHODS = click.Choice([method.value for method in DepositMethod])


@click.command()
@click.argument("account", type=AccountName())
@click.argument("amount", metavar="USD")
@click.option("--method", type=_METHODS, default=DepositMethod.MANUAL.value, show_default=True)
@click.option("--id", "deposit_id", help="Makes the deposit repeatable: an id is booked once.")
@click.option("--reference", default="", help="The payment's name elsewhere; a card's is its id.")
@click.option("--io-price", type=Usd(), metavar="USD", help="Of one IO: the amount is IO then.")
@click.option("--price-source", help="Who said so.")
@click.option("--price-at", type=int, metavar="UNIX_SECONDS", help="When; now, if there is no id.")
@json_option
@home_option
def deposit(
    account: str,
    amount: str,
    method: str,
    deposit_id: str | None,
    reference: str,
    io_price: int | None,
    price_source: str | None,
    price_at: int | None,
    as_json: bool,
    home: Path,
) -> None:
    """Add prepaid money to an account, which is opened if it is new.

    USDC and cards cost the fee that [billing] of the configuration says, IO and manual deposits
    nothing. IO is credited in USD at the price given.

    Example: tollgate account deposit alice 5.00 --id invoice-17
    """
    now_ns = time.time_ns()
    chosen = DepositMethod(method)
    if chosen is DepositMethod.CARD:
        deposit_id = deposit_id or reference
    price = None
    if chosen is DepositMethod.IO:
        if deposit_id is not None and price_at is None:
            raise click.UsageError("a repeatable deposit in IO needs the time of its price too")
        at_ns = now_ns if price_at is None else price_at * _NS
        price = IoPrice(nano_usd=io_price or 0, source=price_source or "", at_ns=at_ns)
    elif not (io_price is None and price_source is None and price_at is None):
        raise click.UsageError("a price of IO goes with --method io only")
    order = DepositOrder(
        deposit_id=deposit_id or secrets.token_hex(8),
        account=account,
        method=chosen,
        nano_usd=0 if price else _amount(amount, in_io=False),
        io=_amount(amount, in_io=True) if price else 0,
        io_price=price,
        reference=reference,
    )
    with open_billing(home, create=True) as (billing, ledger), audited(home, "deposit", account):
        booked, is_new = billing.deposit(order, now_ns)
        balance = ledger.balance(customer(account))
    if as_json:
        result = PostResult.OK if is_new else PostResult.EXISTS
        shown = deposit_object(booked.deposit) | {"result": result}
        echo_json(shown | balance_line(account, balance))
        return
    has = f"'{account}' has {format_usd(balance.available)} USD available."
    if is_new:
        click.echo(f"Deposited {_told(booked.deposit)}. {has}")
    else:
        click.echo(f"Deposit '{order.deposit_id}' was booked before; nothing changed. {has}")


@click.command()
@click.argument("account", type=AccountName())
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True)
@json_option
@home_option
def deposits(account: str, limit: int, as_json: bool, home: Path) -> None:
    """An account's deposits and what was refunded of each, the newest first.

    Example: tollgate account deposits alice
    """
    with open_billing(home) as (billing, _):
        if not billing.knows(account):
            raise unknown_account(account)
        found = billing.deposits.deposits(account, limit=limit)
    if as_json:
        for booked in found:
            echo_json(booked_object(booked))
        return
    echo_table(
        f"Deposits of {account}",
        ["booked (UTC)", "id", "method", "USD ", "fee ", "IO ", "refunded ", "reference"],
        [
            [
                time_text(booked.deposit.booked_ns),
                booked.deposit.deposit_id,
                booked.deposit.method,
                format_usd(booked.deposit.nano_usd),
                format_usd(booked.deposit.fee_nano_usd),
                format_io(booked.deposit.io) if booked.deposit.io else "",
                format_usd(sum(refund.nano_usd for refund in booked.refunds)),
                booked.deposit.reference,
            ]
            for booked in found
        ],
    )


@click.command()
@click.argument("deposit_id", metavar="DEPOSIT")
@click.argument("amount", type=Usd(), metavar="[USD]", required=False)
@click.option("--id", "refund_id", help="Makes the refund repeatable: booked once a deposit.")
@click.option("--reference", default="", help="The payment's name elsewhere.")
@json_option
@home_option
def refund(
    deposit_id: str,
    amount: int | None,
    refund_id: str | None,
    reference: str,
    as_json: bool,
    home: Path,
) -> None:
    """Take back a deposit, by the way it came: so much of it, or all that can be.

    This books it; the payment itself is yours to make. IO goes back at the deposit's own price.

    Example: tollgate account refund invoice-17 2.50 --id refund-1
    """
    order = RefundOrder(
        refund_id=refund_id or secrets.token_hex(8), nano_usd=amount, reference=reference
    )
    with open_billing(home) as (billing, ledger), audited(home, "refund", deposit_id):
        made, is_new = billing.refund(deposit_id, order)
        balance = ledger.balance(customer(made.account))
    if as_json:
        result = PostResult.OK if is_new else PostResult.EXISTS
        echo_json(refund_object(made) | {"result": result} | balance_line(made.account, balance))
        return
    pay = f"{format_io(made.io)} IO" if made.io else f"{format_usd(made.paid_nano_usd)} USD"
    done = "Refunded" if is_new else "Was refunded before; nothing changed:"
    click.echo(
        f"{done} {format_usd(made.nano_usd)} USD of deposit '{deposit_id}': pay {pay} back by "
        f"{PAID_BY[made.method]}. '{made.account}' has {format_usd(balance.available)} USD "
        "available."
    )


def _amount(text: str, *, in_io: bool) -> int:
    try:
        amount = parse_io(text) if in_io else parse_usd(text)
    except MoneyError as error:
        raise click.BadParameter(str(error), param_hint="USD") from error
    if amount == 0:
        raise click.BadParameter("a deposit of 0 changes nothing", param_hint="USD")
    return amount


def _told(made: Deposit) -> str:
    paid = f"{format_usd(made.nano_usd)} USD"
    if made.io:
        paid = f"{format_io(made.io)} IO worth {paid}"
    elif made.method is not DepositMethod.MANUAL:
        paid += f" by {made.method}"
    fee = f", of which {format_usd(made.fee_nano_usd)} are the fee" if made.fee_nano_usd else ""
    return f"{paid} (deposit '{made.deposit_id}'){fee}"

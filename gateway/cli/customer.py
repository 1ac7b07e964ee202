"""Customers on the command line: opened, lent to, warned about, suspended, closed; shown."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from msgspec import UNSET

from gateway.cli.audited import audited
from gateway.cli.home import (
    WRITER,
    AccountName,
    Usd,
    echo_json,
    echo_table,
    home_option,
    json_option,
    open_ledger,
    open_stores,
    unknown_account,
)
from gateway.cli.terms import NONE, OrNone
from gateway.customers import AccountPatch, Customers
from gateway.views.customers import customer_json, warning_json
from metering.credit_line import CreditLineError
from metering.customer_store import Customer, CustomerError, CustomerState, CustomerStore
from metering.money import format_usd

_ALL = 2**31

account_argument = click.argument("account", type=AccountName())
_credit_line = click.option(
    "--credit-line", type=Usd(), metavar="USD", help="What it may owe: post-paid credit."
)
_warn_below = click.option(
    "--warn-below",
    type=OrNone(Usd()),
    metavar="USD",
    help="Warn when less is available; `none` for never.",
)


@click.command()
@account_argument
@_credit_line
@_warn_below
@json_option
@home_option
def create(
    account: str, credit_line: int | None, warn_below: Any, as_json: bool, home: Path
) -> None:
    """Open an account with a balance of zero.

    Example: tollgate account create alice --credit-line 500 --warn-below 20
    """
    with _customers(home, create=True) as customers, audited(home, "create-account", account):
        created = customers.open(account)
        changed = customers.change(account, _patch(None, credit_line, warn_below))
    if as_json:
        assert changed is not None
        echo_json({**customer_json(changed), "created": created})
    elif created:
        click.echo(f"Created account '{account}'.")
    elif _patch(None, credit_line, warn_below) != AccountPatch():
        click.echo(f"Account '{account}' exists already, and is changed.")
    else:
        click.echo(f"Account '{account}' exists already; nothing changed.")


@click.command()
@account_argument
@_credit_line
@_warn_below
@click.option(
    "--state",
    type=click.Choice([state.value for state in CustomerState]),
    help="Suspended: nothing is served. Closed: its keys are revoked, for good.",
)
@json_option
@home_option
def update(
    account: str,
    credit_line: int | None,
    warn_below: Any,
    state: str | None,
    as_json: bool,
    home: Path,
) -> None:
    """Change an account; what is not given stays.

    Example: tollgate account update alice --state suspended
    """
    patch = _patch(state, credit_line, warn_below)
    if patch == AccountPatch():
        raise click.UsageError("nothing to change: give an option, such as --credit-line 100")
    with _customers(home) as customers, audited(home, "update-account", account):
        customer = _known(customers.change(account, patch), account)
    if as_json:
        echo_json(customer_json(customer))
    else:
        _echo(customer)


@click.command()
@account_argument
@json_option
@home_option
def show(account: str, as_json: bool, home: Path) -> None:
    """What an account holds, has on hold, can spend and owes.

    Example: tollgate account show alice --json
    """
    with _customers(home) as customers:
        customer = _known(customers.store.get(account), account)
    if as_json:
        echo_json(customer_json(customer))
    else:
        _echo(customer)


@click.command("list")
@json_option
@home_option
def list_customers(as_json: bool, home: Path) -> None:
    """All customers' accounts. With --json, one object a line.

    Example: tollgate account list
    """
    with _customers(home) as customers:
        found = customers.store.page(limit=_ALL)
    if as_json:
        for customer in found:
            echo_json(customer_json(customer))
        return
    columns = ["account", "available ", "on hold ", "paid in ", "spent ", "credit ", "drawn "]
    echo_table("Accounts, in USD", [*columns, "state"], [_row(customer) for customer in found])


@click.command()
@click.option("--account", type=AccountName(), help="Only this account's.")
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True)
@json_option
@home_option
def warnings(account: str | None, limit: int, as_json: bool, home: Path) -> None:
    """Balances that fell below what they were to be warned at, the newest first.

    A running gateway looks every few seconds; each crossing is told once.

    Example: tollgate account warnings --limit 20
    """
    with _customers(home) as customers:
        found = customers.store.warnings(account=account, limit=limit)
    if as_json:
        for warning in found:
            echo_json(warning_json(warning))
        return
    echo_table(
        "Low balances, in USD",
        ["at", "account", "available ", "less than "],
        [
            [
                datetime.fromtimestamp(warning.warned_ns // 10**9, UTC).strftime("%F %T"),
                warning.account,
                format_usd(warning.available_nano_usd),
                format_usd(warning.threshold_nano_usd),
            ]
            for warning in found
        ],
    )


@contextlib.contextmanager
def _customers(home: Path, *, create: bool = False) -> Iterator[Customers]:
    """The home's customers; a refusal ends the command in one line."""
    with open_ledger(home, create=create) as ledger, open_stores(home) as database:
        try:
            yield Customers(ledger, CustomerStore(database), WRITER)
        except (CreditLineError, CustomerError) as error:
            raise click.ClickException(str(error)) from error


def _patch(state: str | None, credit_line: int | None, warn_below: Any) -> AccountPatch:
    if warn_below == 0:
        raise click.BadParameter("a balance is never less than 0: give more, or none")
    return AccountPatch(
        state=UNSET if state is None else CustomerState(state),
        credit_line_nano_usd=UNSET if credit_line is None else credit_line,
        warn_below_nano_usd=UNSET
        if warn_below is None
        else (None if warn_below == NONE else warn_below),
    )


def _known(found: Customer | None, account: str) -> Customer:
    if found is None:
        raise unknown_account(account)
    return found


def _echo(customer: Customer) -> None:
    balance, shown = customer.balance, customer_json(customer)
    state = "" if customer.state is CustomerState.ACTIVE else f", {customer.state}"
    click.echo(f"{customer.account}: {format_usd(balance.available)} USD available{state}")
    click.echo(f"  balance {shown['balance_usd']}, on hold {shown['held_usd']}")
    paid_in, spent = shown["paid_in_usd"], shown["spent_usd"]
    click.echo(f"  paid in {paid_in}, spent {spent} with fees and refunds")
    if customer.credit_line_nano_usd:
        click.echo(f"  credit line {shown['credit_line_usd']}, drawn {shown['credit_drawn_usd']}")
    if customer.warn_below_nano_usd is not None:
        click.echo(f"  warned below {shown['warn_below_usd']}")


def _row(customer: Customer) -> list[str]:
    shown = customer_json(customer)
    fields = ("available", "held", "paid_in", "spent", "credit_line", "credit_drawn")
    return [customer.account, *(shown[f"{field}_usd"] for field in fields), customer.state]

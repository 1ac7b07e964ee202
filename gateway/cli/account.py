"""`tollgate account`: customers and their prepaid balance."""

from __future__ import annotations

from pathlib import Path

import click

from gateway.cli import deposit, statement
from gateway.cli.balance import balance_line
from gateway.cli.home import (
    AccountName,
    echo_json,
    echo_table,
    home_option,
    json_option,
    open_ledger,
)
from metering.accounts import customer, customer_name
from metering.money import format_usd

account_argument = click.argument("account", type=AccountName())


@click.group()
def command() -> None:
    """Customers' accounts: create, deposit, refund, show, list, statements."""


command.add_command(deposit.deposit)
command.add_command(deposit.deposits)
command.add_command(deposit.refund)
command.add_command(statement.statement)


@command.command()
@account_argument
@json_option
@home_option
def create(account: str, as_json: bool, home: Path) -> None:
    """Open an account with a balance of zero.

    Example: tollgate account create alice
    """
    with open_ledger(home, create=True) as ledger:
        created = ledger.open_account(customer(account))
    if as_json:
        echo_json({"account": account, "created": created})
    elif created:
        click.echo(f"Created account '{account}'.")
    else:
        click.echo(f"Account '{account}' exists already; nothing changed.")


@command.command()
@account_argument
@json_option
@home_option
def show(account: str, as_json: bool, home: Path) -> None:
    """What an account holds, has on hold and can spend.

    Example: tollgate account show alice --json
    """
    with open_ledger(home) as ledger:
        found = ledger.balances([customer(account)]).get(customer(account))
    if found is None:
        raise click.ClickException(
            f"there is no account '{account}': see `tollgate account list`, or open it with "
            f"`tollgate account create {account}`"
        )
    if as_json:
        echo_json(balance_line(account, found))
        return
    click.echo(f"{account}: {format_usd(found.available)} USD available")
    click.echo(f"  balance {format_usd(found.posted)}, on hold {format_usd(found.debits_pending)}")
    click.echo(
        f"  paid in {format_usd(found.credits_posted)}, spent {format_usd(found.debits_posted)}"
    )


@command.command("list")
@json_option
@home_option
def list_accounts(as_json: bool, home: Path) -> None:
    """All customers' accounts. With --json, one object a line.

    Example: tollgate account list
    """
    with open_ledger(home) as ledger:
        lines = ledger.trial_balance()
    customers = [
        (name, line.balance) for line in lines if (name := customer_name(line.account)) is not None
    ]
    if as_json:
        for name, balance in customers:
            echo_json(balance_line(name, balance))
        return
    echo_table(
        "Accounts, in USD",
        ["account", "available ", "on hold ", "paid in ", "spent "],
        [
            [
                name,
                format_usd(balance.available),
                format_usd(balance.debits_pending),
                format_usd(balance.credits_posted),
                format_usd(balance.debits_posted),
            ]
            for name, balance in customers
        ],
    )

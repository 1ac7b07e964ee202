"""`tollgate account`: customers and their prepaid balance."""

from __future__ import annotations

import secrets
from pathlib import Path

import click

from gateway.cli import customer
from gateway.cli.home import (
    WRITER,
    AccountName,
    Usd,
    echo_json,
    home_option,
    json_option,
    open_ledger,
)
from metering.accounts import customer as customer_account
from metering.ledger import Balance, PostResult
from metering.money import format_usd
from metering.posting import deposit_group

account_argument = click.argument("account", type=AccountName())


@click.group()
def command() -> None:
    """Customers' accounts: create, deposit, update, show, list, warnings."""


command.add_command(customer.create)
command.add_command(customer.update)
command.add_command(customer.show)
command.add_command(customer.list_customers)
command.add_command(customer.warnings)


@command.command()
@account_argument
@click.argument("amount", type=Usd(), metavar="USD")
@click.option("--id", "deposit_id", help="Makes the deposit repeatable: an id is booked once.")
@json_option
@home_option
def deposit(account: str, amount: int, deposit_id: str | None, as_json: bool, home: Path) -> None:
    """Add prepaid USD to an account, which is opened if it is new.

    Example: tollgate account deposit alice 5.00 --id invoice-17
    """
    if amount == 0:
        raise click.BadParameter("a deposit of 0 changes nothing", param_hint="USD")
    deposit_id = deposit_id or secrets.token_hex(8)
    with open_ledger(home, create=True) as ledger:
        (result,) = ledger.post(WRITER, [deposit_group(deposit_id, account, amount)])
        if not result.booked:
            raise click.ClickException(_refusal(result, deposit_id))
        balance = ledger.balance(customer_account(account))
    if as_json:
        line = {"id": deposit_id, "amount_nano_usd": amount, "result": result}
        echo_json(line | _line(account, balance))
    elif result is PostResult.EXISTS:
        click.echo(
            f"Deposit '{deposit_id}' was booked before; nothing changed. "
            f"'{account}' has {format_usd(balance.available)} USD available."
        )
    else:
        click.echo(
            f"Deposited {format_usd(amount)} USD (deposit '{deposit_id}'). "
            f"'{account}' has {format_usd(balance.available)} USD available."
        )


def _line(account: str, balance: Balance) -> dict[str, object]:
    return {
        "account": account,
        "available_nano_usd": balance.available,
        "balance_nano_usd": balance.posted,
        "held_nano_usd": balance.debits_pending,
        "paid_in_nano_usd": balance.credits_posted,
        "spent_nano_usd": balance.debits_posted,
        "available_usd": format_usd(balance.available),
    }


def _refusal(result: PostResult, deposit_id: str) -> str:
    different = {
        PostResult.EXISTS_WITH_DIFFERENT_AMOUNT: "another amount",
        PostResult.EXISTS_WITH_DIFFERENT_CREDIT: "another account",
    }.get(result)
    if different is None:
        return f"the ledger refused the deposit: {result}"
    return (
        f"deposit '{deposit_id}' was booked before with {different}, and stays as it is: a new "
        "deposit needs a new --id"
    )

"""`tollgate account`: customers, their money in and out, and what they are told of it."""

from __future__ import annotations

import click

from gateway.cli import customer, deposit, statement


@click.group()
def command() -> None:
    """Customers' accounts: create, update, show, list, warnings, deposits, refunds, statements."""


command.add_command(customer.create)
command.add_command(customer.update)
command.add_command(customer.show)
command.add_command(customer.list_customers)
command.add_command(customer.warnings)
command.add_command(deposit.deposit)
command.add_command(deposit.deposits)
command.add_command(deposit.refund)
command.add_command(statement.statement)

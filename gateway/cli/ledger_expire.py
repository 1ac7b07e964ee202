"""`tollgate ledger expire`: what lost gateways still hold comes free."""

from __future__ import annotations

import time
from pathlib import Path

import click

from gateway.cli.audited import audited
from gateway.cli.home import echo_json, home_option, json_option, open_ledger
from metering.expirer import Expirer
from metering.money import format_usd


@click.command("expire")
@json_option
@home_option
def command(as_json: bool, home: Path) -> None:
    """Release the holds whose time is over and that nobody resolved.

    A gateway does so itself every ten minutes. A charge that ends later still, because its gateway
    was only away, is paid all the same.

    Example: tollgate ledger expire
    """
    with open_ledger(home) as ledger, audited(home, "expire-holds"):
        released = Expirer(ledger).run(time.time_ns())
    amount = sum(hold.amount for hold in released)
    if as_json:
        lines = [
            {"id": hold.id, "account": hold.debit, "amount_nano_usd": hold.amount}
            for hold in released
        ]
        echo_json({"released": lines, "amount_nano_usd": amount})
    elif released:
        click.echo(f"Released {len(released)} holds of {format_usd(amount)} USD.")
    else:
        click.echo("No hold is open whose time is over.")

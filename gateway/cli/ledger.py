"""`tollgate ledger`: the books as a whole."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from gateway.cli import ledger_backup, ledger_expire, ledger_export, ledger_reconcile, ledger_verify
from gateway.cli.home import echo_json, echo_table, home_option, json_option, open_ledger
from metering.accounts import Asset, asset_of
from metering.ledger import AccountBalance
from metering.money import format_io, format_usd

_FORMAT = {Asset.USD: format_usd, Asset.IO: format_io}


@click.group()
def command() -> None:
    """The books: trial balance, verification, export, expired holds."""


command.add_command(ledger_backup.backup)
command.add_command(ledger_backup.restore)
command.add_command(ledger_expire.command)
command.add_command(ledger_export.command)
command.add_command(ledger_reconcile.command)
command.add_command(ledger_verify.command)


@command.command("trial-balance")
@json_option
@home_option
def trial_balance(as_json: bool, home: Path) -> None:
    """Every account's debits and credits, which are equal in sum. Exits with 1 if they are not.

    Example: tollgate ledger trial-balance
    """
    with open_ledger(home) as ledger:
        lines = ledger.trial_balance()
    totals = [
        (asset, _total([line for line in lines if asset_of(line.account) == asset]))
        for asset in Asset
    ]
    balanced = all(total[0] == total[1] and total[2] == total[3] for _, total in totals)
    if as_json:
        echo_json(
            {
                "balanced": balanced,
                "totals": {
                    asset: dict(zip(_COLUMNS, total, strict=True)) for asset, total in totals
                },
                "accounts": [
                    {"account": line.account, **msgspec.structs.asdict(line.balance)}
                    for line in lines
                ],
            }
        )
    else:
        for asset, total in totals:
            _echo_asset(asset, [line for line in lines if asset_of(line.account) == asset], total)
    if not balanced:
        raise click.exceptions.Exit(1)


_COLUMNS = ("debits_posted", "credits_posted", "debits_pending", "credits_pending")


def _total(lines: list[AccountBalance]) -> tuple[int, int, int, int]:
    return (
        sum(line.balance.debits_posted for line in lines),
        sum(line.balance.credits_posted for line in lines),
        sum(line.balance.debits_pending for line in lines),
        sum(line.balance.credits_pending for line in lines),
    )


def _echo_asset(
    asset: Asset, lines: list[AccountBalance], total: tuple[int, int, int, int]
) -> None:
    if not lines:
        return
    amount = _FORMAT[asset]
    rows = [
        [line.account, *map(amount, _total([line])), amount(line.balance.posted)] for line in lines
    ]
    columns = ["debits ", "credits ", "debits held ", "credits held ", "balance "]
    echo_table(
        f"Trial balance, {asset.upper()}",
        ["account", *columns],
        [*rows, ["sum", *map(amount, total), amount(total[1] - total[0])]],
    )

"""`tollgate settle wallet`: the addresses that suppliers are paid at, and who set them."""

from __future__ import annotations

import time
from pathlib import Path

import click
import msgspec

from gateway.cli.audited import audited, user
from gateway.cli.chain_books import named_errors
from gateway.cli.home import echo_json, echo_table, home_option, json_option, open_stores
from ide.chain.address import parse_wallet
from ide.chain.wallet_store import WalletEntry, WalletStore
from metering import accounts
from metering.accounts import Asset

_NO_WALLET = ""


_by = click.option("--by", default=user, show_default="the user", help="Who wants it so.")
_reason = click.option("--reason", default="", help="Why, such as a ticket.")


@click.group("wallet")
def wallet() -> None:
    """Where suppliers are paid."""


@wallet.command("set", epilog="Example: tollgate settle wallet set gpu-farm 9xQe...VFin")
@click.argument("supplier_id", metavar="SUPPLIER")
@click.argument("address")
@_by
@_reason
@home_option
@json_option
def set_(supplier_id: str, address: str, by: str, reason: str, home: Path, as_json: bool) -> None:
    """Pay a supplier at this address from now on, also for epochs that are still owed.

    The address is a wallet's, not that of a token account: that is found, or made, from it.
    """
    with named_errors():
        parse_wallet(address)
    _add(home, as_json, _entry(supplier_id, address, by, reason))


@wallet.command("remove", epilog="Example: tollgate settle wallet remove gpu-farm")
@click.argument("supplier_id", metavar="SUPPLIER")
@_by
@_reason
@home_option
@json_option
def remove(supplier_id: str, by: str, reason: str, home: Path, as_json: bool) -> None:
    """Pay a supplier nowhere: what it earns stays owed."""
    _add(home, as_json, _entry(supplier_id, _NO_WALLET, by, reason))


@wallet.command("list", epilog="Example: tollgate settle wallet list --json")
@home_option
@json_option
def list_(home: Path, as_json: bool) -> None:
    """Every supplier's wallet."""
    with open_stores(home) as database:
        current = WalletStore(database).current()
    if as_json:
        echo_json(current)
        return
    echo_table("Wallets", ["supplier", "address"], [list(each) for each in current.items()])


@wallet.command("history", epilog="Example: tollgate settle wallet history gpu-farm")
@click.argument("supplier_id", metavar="SUPPLIER")
@home_option
@json_option
def history(supplier_id: str, home: Path, as_json: bool) -> None:
    """Every wallet a supplier ever had, newest first: when, by whom and why."""
    with open_stores(home) as database:
        entries = WalletStore(database).history(supplier_id)
    if as_json:
        echo_json(entries)
        return
    echo_table(
        f"Wallets of {supplier_id}",
        ["set (ns)", "address", "by", "reason"],
        [[str(each.set_ns), each.address or "none", each.set_by, each.reason] for each in entries],
    )


def _entry(supplier_id: str, address: str, by: str, reason: str) -> WalletEntry:
    with named_errors():
        accounts.supplier(Asset.IO, supplier_id)
    return WalletEntry(
        supplier_id=supplier_id, address=address, set_by=by, reason=reason, set_ns=time.time_ns()
    )


def _add(home: Path, as_json: bool, entry: WalletEntry) -> None:
    action = "set-wallet" if entry.address else "remove-wallet"
    with open_stores(home) as database, audited(home, action, entry.supplier_id):
        store = WalletStore(database)
        before = store.current().get(entry.supplier_id, "")
        store.set(entry)
    if as_json:
        echo_json({**msgspec.structs.asdict(entry), "before": before})
        return
    click.echo(
        f"Supplier {entry.supplier_id} is paid at {entry.address or 'no address'}; before:"
        f" {before or 'none'}."
    )

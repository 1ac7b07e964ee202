"""`tollgate settle chain-setup | chain-check`: ready a chain to pay from; hold it to account."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from gateway.cli.audited import audited
from gateway.cli.chain_books import ChainBooks, open_chain_books
from gateway.cli.home import echo_json, echo_table, home_option, json_option
from ide.chain.account_data import read_balance
from ide.chain.address import parse_wallet, token_address
from ide.chain.chain import ChainError
from ide.chain.check import ChainCheck, WalletBalance, check_chain
from ide.chain.due import ledger_io, settled_io
from ide.chain.setup import make_nonce_accounts
from metering.money import format_io


@click.command("chain-setup", epilog="Example: tollgate settle chain-setup --json")
@home_option
@json_option
def setup(home: Path, as_json: bool) -> None:
    """Make the nonce accounts that are missing, and say what the vault holds.

    Each costs its rent, about 0.0015 SOL, once. Running it again changes nothing.
    """
    with open_chain_books(home) as books, audited(home, "set-up-chain"):
        made = make_nonce_accounts(books.chain, books.key, books.terms)
        funds, terms = books.payer.funds(), books.terms
        name = books.chain.name
    vault = str(token_address(terms.authority, terms.mint))
    if as_json:
        nonces = [{"address": str(nonce), "made": new} for nonce, new in made.items()]
        facts = {"authority": str(terms.authority), "mint": str(terms.mint), "vault": vault}
        amounts = {"vault_io": funds.vault_io, "lamports": funds.lamports}
        echo_json({"chain": name, **facts, **amounts, "nonce_accounts": nonces})
        return
    click.echo(f"Paying on {name} from the wallet {terms.authority} ({funds.lamports} lamports).")
    click.echo(f"Its vault {vault} holds {format_io(funds.vault_io)} IO of the mint {terms.mint}.")
    for nonce, new in made.items():
        click.echo(f"Nonce account {nonce}: {'made' if new else 'was there'}.")


@click.command("chain-check", epilog="Example: tollgate settle chain-check --json")
@click.option(
    "--accept",
    "reason",
    help="Take the chain's supply and vault as they are from now on, and note why.",
)
@home_option
@json_option
def check(reason: str | None, home: Path, as_json: bool) -> None:
    """Hold ledger, payments, token supply and vault against each other, to the base unit.

    Exits with 1 if they differ. What suppliers' wallets hold is told beside: it is theirs to move.
    """
    with open_chain_books(home) as books:
        found = _check(books)
        if reason is not None:
            with audited(home, "accept-chain"):
                books.payer.open(reason)
    if as_json:
        echo_json({"agrees": found.agrees, **msgspec.structs.asdict(found)})
    else:
        _show(found)
    if not found.agrees and reason is None:
        raise click.exceptions.Exit(1)


def _check(books: ChainBooks) -> ChainCheck:
    opening = books.payments.opening()
    if opening is None:
        raise ChainError(
            f"nothing was paid on {books.chain.name} yet: see `tollgate settle pay --help`"
        )
    return check_chain(
        ledger_io=ledger_io(books.ledger.trial_balance()),
        settled_io=settled_io(books.ledger),
        paid_io=books.payments.paid_by_supplier(),
        opening=opening,
        funds=books.payer.funds(),
        wallets=_wallets(books),
    )


def _wallets(books: ChainBooks) -> list[WalletBalance]:
    paid = books.payments.paid_by_wallet()
    tokens = [token_address(parse_wallet(wallet), books.terms.mint) for wallet in paid]
    found = books.chain.accounts(tokens)
    return [
        WalletBalance(wallet=wallet, paid_io=io, held_io=read_balance(account))
        for (wallet, io), account in zip(paid.items(), found, strict=True)
    ]


def _show(found: ChainCheck) -> None:
    moved = sum(wallet.paid_io != wallet.held_io for wallet in found.wallets)
    echo_table(
        "Chain and ledger, in IO",
        ["figure", "IO "],
        [
            ["paid to suppliers", format_io(found.paid_io)],
            ["owed to suppliers", format_io(found.owed_io)],
            ["burned", format_io(found.burned_io)],
            ["to be burned", format_io(found.burn_owed_io)],
            ["supply on chain", format_io(found.supply_io)],
            ["in the vault", format_io(found.vault_io)],
            ["came into the vault since the opening", format_io(found.topped_up_io)],
        ],
    )
    click.echo(
        f"{len(found.wallets)} wallets were paid; {moved} hold another sum than that by now."
    )
    for each in found.differences:
        click.echo(
            f"DIFFERS: {each.where}: {format_io(each.expected_io)} IO expected,"
            f" {format_io(each.found_io)} found"
        )
    if found.agrees:
        click.echo("Ledger, payments, supply and vault agree to the base unit.")

"""`tollgate settle proof` and `check-proof`: what a supplier was paid, for it to verify."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click
import msgspec

from gateway.cli.home import echo_json, home_option, json_option, open_ledger
from gateway.cli.settle_view import epoch_or_last
from ide.explain import io, usd
from ide.proof import CheckedProof, Proof, ProofError, check_proof
from ide.proving import prove
from ide.settlement import SettlementError


@click.command("proof", epilog="Example: tollgate settle proof --supplier acme --output proof.json")
@click.option("--supplier", required=True, help="Whose payout.")
@click.option("--epoch", type=int, help="The last one, if not given.")
@click.option("--without-charges", is_flag=True, help="Leave out the charges behind the tokens.")
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="A file. Else standard output.",
)
@home_option
@json_option
def proof(
    supplier: str,
    epoch: int | None,
    without_charges: bool,
    output: Path | None,
    home: Path,
    as_json: bool,
) -> None:
    """Write a proof of a supplier's payout: it needs no trust in us to be checked."""
    with open_ledger(home) as ledger:
        try:
            row = epoch_or_last(ledger, epoch)
            made = prove(ledger, row, supplier, with_charges=not without_charges)
        except SettlementError as error:
            raise click.ClickException(str(error)) from error
    text = _text(made)
    if output is None:
        click.echo(text, nl=False)
        return
    output.write_text(text, encoding="utf-8")
    if as_json:
        echo_json({"epoch": row.epoch, "supplier": supplier, "output": str(output)})
        return
    click.echo(f"{output} proves what epoch {row.epoch} paid {supplier}.")
    click.echo(f"Anyone can check it: tollgate settle check-proof {output}")


@click.command("check-proof", epilog="Example: tollgate settle check-proof proof.json --head HEX")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--root", help="The epoch's root as it was published, in hex.")
@click.option(
    "--head", help="The hash of its head, in hex: it stands for price and parameters too."
)
@json_option
def check(file: Path, root: str | None, head: str | None, as_json: bool) -> None:
    """Verify a proof, without any database or network. Exits 1 if it proves nothing."""
    try:
        found = check_proof(file.read_bytes(), root, head)
    except ProofError as error:
        if as_json:
            echo_json({"ok": False, "problem": str(error)})
        else:
            click.echo(f"{file} proves nothing: {error}")
        sys.exit(1)
    if as_json:
        given = {"root_given": root is not None, "head_given": head is not None}
        echo_json({"ok": True, **given, **_json(found)})
        return
    for line in _lines(found, head is not None):
        click.echo(line)


def _text(made: Proof) -> str:
    pretty: bytes = msgspec.json.format(msgspec.json.encode(made), indent=1)
    return pretty.decode() + "\n"


def _json(found: CheckedProof) -> dict[str, Any]:
    told: dict[str, Any] = msgspec.to_builtins(found)
    return told


def _lines(found: CheckedProof, head_given: bool) -> list[str]:
    payout = found.payout
    tokens = sum(served.prompt_tokens + served.completion_tokens for served in found.usage)
    lines = [
        f"Right: epoch {found.epoch} paid {found.supplier_id} {io(payout.io_paid)} and"
        f" {usd(payout.usd_paid_nano_usd)} of the"
        f" {usd(payout.obligation_nano_usd + payout.debt_before_nano_usd)} it was owed,"
        f" {usd(payout.unpaid_nano_usd)} is unpaid.",
        f"It is for {tokens:,} tokens"
        + (
            "; the charges behind them are not in the file."
            if found.charges is None
            else f" of {found.charges:,} charges, each in the file and under the root."
        ),
        f"root {found.root}",
        f"head {found.head_hash}",
    ]
    if not head_given:
        lines.append("Compare the head with the one that was published, or give it with --head.")
    return lines

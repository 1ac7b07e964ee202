"""`tollgate settle pay | payments`: what a settled epoch moves on chain, and what it moved."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import click

from gateway.cli.audited import audited
from gateway.cli.chain_books import ChainBooks, open_chain_books
from gateway.cli.home import echo_json, echo_table, home_option, json_option
from ide.chain.due import due_of
from ide.chain.payment import PaidPayment, TransactionState
from ide.chain.plan import CLOSING, Batch, Plan
from metering.money import format_io

_LAMPORTS_IN_SOL = 10**9
_OWED = "owed"

epoch_option = click.option("--epoch", type=click.IntRange(min=1), required=True)


@click.command("pay", epilog="Example: tollgate settle pay --epoch 12 --dry-run")
@epoch_option
@click.option("--dry-run", is_flag=True, help="Print the plan: sign, write and send nothing.")
@home_option
@json_option
def pay(epoch: int, dry_run: bool, home: Path, as_json: bool) -> None:
    """Pay a settled epoch on Solana: IO to suppliers' wallets, the burn, a memo with its root.

    Each payout is made once, however often this is run and wherever it was cut off before.
    Suppliers without a wallet stay owed and are listed.
    """
    paying = contextlib.nullcontext() if dry_run else audited(home, "pay-epoch", str(epoch))
    with open_chain_books(home) as books, paying:
        due = due_of(books.ledger, epoch)
        plan = books.payer.plan(due) if dry_run else books.payer.pay(due, _progress)
        paid = books.payments.payments(epoch)
        name = books.chain.name
    if as_json:
        echo_json({"chain": name, "dry_run": dry_run, **_plan_json(plan), "payments": _rows(paid)})
        return
    _show_plan(plan, name, dry_run)


@click.command("payments", epilog="Example: tollgate settle payments --epoch 12 --json")
@epoch_option
@home_option
@json_option
def payments(epoch: int, home: Path, as_json: bool) -> None:
    """What was paid of an epoch, in which transaction, and what is still owed."""
    with open_chain_books(home) as books:
        rows = _rows(books.payments.payments(epoch)) + _owed(books, epoch)
        spent = books.payments.spent(epoch)
    if as_json:
        echo_json({"epoch": epoch, "spent": spent, "payments": rows})
        return
    echo_table(
        f"Epoch {epoch}: {format_io(spent.io)} IO and {_sol(spent.lamports)} SOL spent at most",
        ["supplier", "IO ", "state", "wallet", "transaction"],
        [
            [
                row["supplier_id"] or "the burn",
                format_io(row["io"]),
                row["state"],
                row["wallet"],
                row["signature"] or "",
            ]
            for row in rows
        ],
    )


def _progress(done: int, of: int) -> None:
    click.echo(f"{done} of {of} transactions are final", err=True)


def _rows(paid: list[PaidPayment]) -> list[dict[str, Any]]:
    return [
        {
            "supplier_id": each.payment.supplier_id,
            "io": each.payment.io,
            "state": "paid" if each.state is TransactionState.FINALIZED else "sent",
            "wallet": each.payment.wallet,
            "signature": each.signature,
            "slot": each.slot,
        }
        for each in paid
    ]


def _owed(books: ChainBooks, epoch: int) -> list[dict[str, Any]]:
    taken = {each.payment.supplier_id for each in books.payments.payments(epoch)}
    wallets, due = books.wallets.current(), due_of(books.ledger, epoch)
    owed = {**due.payouts, CLOSING: due.burn_io}
    return [
        {
            "supplier_id": name,
            "io": io,
            "state": _OWED,
            "wallet": wallets.get(name, ""),
            "signature": None,
            "slot": None,
        }
        for name, io in sorted(owed.items())
        if name not in taken
    ]


def _plan_json(plan: Plan) -> dict[str, Any]:
    return {
        "epoch": plan.epoch,
        "io": plan.io,
        "lamports": plan.lamports,
        "transactions": [_batch_json(batch) for batch in plan.batches],
        "held": plan.held,
    }


def _batch_json(batch: Batch) -> dict[str, Any]:
    return {
        "payees": [
            {
                "supplier_id": payee.supplier_id,
                "wallet": str(payee.wallet),
                "io": payee.io,
                "makes_account": payee.makes_account,
            }
            for payee in batch.payees
        ],
        "burn_io": batch.burn_io,
        "memo": batch.memo,
        "compute_units": batch.units,
        "lamports": batch.lamports,
    }


def _show_plan(plan: Plan, chain: str, dry_run: bool) -> None:
    count = len(plan.batches)
    done = "would be" if dry_run else "were"
    click.echo(
        f"Epoch {plan.epoch} on {chain}: {count} transactions {done} sent, with"
        f" {format_io(plan.io)} IO and at most {_sol(plan.lamports)} SOL of fees and rent."
    )
    if count:
        echo_table(
            "Transactions",
            ["payouts ", "new accounts ", "IO ", "burned IO ", "compute units ", "memo"],
            [
                [
                    str(len(batch.payees)),
                    str(sum(payee.makes_account for payee in batch.payees)),
                    format_io(batch.io - batch.burn_io),
                    format_io(batch.burn_io),
                    f"{batch.units:,}",
                    batch.memo or "",
                ]
                for batch in plan.batches
            ],
        )
    if plan.held:
        echo_table(
            "Owed on: cannot be paid yet",
            ["supplier", "IO ", "why"],
            [[held.supplier_id, format_io(held.io), held.reason] for held in plan.held],
        )


def _sol(lamports: int) -> str:
    whole, rest = divmod(lamports, _LAMPORTS_IN_SOL)
    return f"{whole}.{rest:09}".rstrip("0").rstrip(".")

"""`make solana`: see README.md."""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from pathlib import Path

import click
from chain_world import World, due_of
from solders.hash import Hash

from ide.chain.instructions import TRANSACTION_BYTES_MAX, transaction_size
from ide.chain.plan import Plan
from metering.money import format_io

from .killed import balances_sane, made_world, paid_by_child, paid_once


@click.command()
@click.option("--suppliers", default=1000, show_default=True, help="Paid in two epochs each.")
@click.option("--killed-suppliers", default=20, show_default=True, help="Of the killed process.")
@click.option("--step", default=1, show_default=True, help="Kill at every so many statements.")
def main(suppliers: int, killed_suppliers: int, step: int) -> None:
    """Pay suppliers on the embedded VM, then kill a process that does at every statement.

    Example: make solana ARGS='--suppliers 100 --step 10'
    """
    folder = Path(tempfile.mkdtemp(prefix="tollgate-solana-"))
    try:
        ok = _paid(folder / "paid", suppliers) and _killed(folder, killed_suppliers, step)
    finally:
        shutil.rmtree(folder)
    click.echo("everything is as it must be" if ok else "WRONG")
    sys.exit(0 if ok else 1)


def _paid(folder: Path, suppliers: int) -> bool:
    world = made_world(folder, suppliers)
    for epoch, title in ((1, "no wallet has a token account yet"), (2, "every wallet has one")):
        with world.chain() as chain, world.database() as database:
            started, cpu = time.monotonic(), time.process_time()
            plan = world.payer(chain, database).pay(due_of(epoch, suppliers))
            wall_s, cpu_s = time.monotonic() - started, time.process_time() - cpu
            _tell(world, plan, title)
            click.echo(f"  {wall_s:.1f} s, of CPU {cpu_s:.1f} s")
        if epoch == 1 and not paid_once(world, suppliers):
            return False
    return True


def _tell(world: World, plan: Plan, title: str) -> None:
    payouts = [len(batch.payees) for batch in plan.batches[:-1]]
    sizes = [_size(world, plan, number) for number in range(len(plan.batches))]
    click.echo(
        f"epoch {plan.epoch}, {sum(payouts)} suppliers, {title}:\n"
        f"  {len(plan.batches)} transactions, {min(payouts)} to {max(payouts)} payouts each,"
        f" at most {max(sizes)} of {TRANSACTION_BYTES_MAX} bytes and"
        f" {max(batch.units for batch in plan.batches):,} compute units asked for\n"
        f"  {format_io(plan.io)} IO, {plan.lamports:,} lamports of fees and rent"
    )


def _size(world: World, plan: Plan, number: int) -> int:
    nonce = world.terms.nonce_addresses()[0]
    message = plan.batches[number].message(world.terms, nonce, Hash.default())
    return transaction_size(message)


def _killed(folder: Path, suppliers: int, step: int) -> bool:
    first = made_world(folder / "first", suppliers)
    first.copy(folder / "whole")
    paid_by_child(folder / "whole", suppliers, 0)
    statements = int((folder / "whole" / "statements").read_text())
    kills = range(1, statements + 1, step)
    for done, statement in enumerate(kills, 1):
        sys.stderr.write(f"\r{done} of {len(kills)} kills ")
        world, at = first.copy(folder / "killed"), folder / "killed"
        died = not paid_by_child(at, suppliers, statement)
        sane = balances_sane(world, suppliers)
        ended = paid_by_child(at, suppliers, 0)
        if not (died and sane and ended and paid_once(world, suppliers)):
            click.echo(f"WRONG after SIGKILL at statement {statement}")
            return False
        shutil.rmtree(at)
    sys.stderr.write("\r" + " " * 40 + "\r")
    click.echo(
        f"SIGKILL at {len(kills)} of the {statements} statements of an epoch of {suppliers}"
        " suppliers, each resumed: nobody paid twice, nobody missed"
    )
    return True


if __name__ == "__main__":
    main(prog_name="make solana")

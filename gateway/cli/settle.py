"""`tollgate settle`: close epochs, explain them, prove them again."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import click

from gateway.cli import settle_proof, settle_status
from gateway.cli import settle_view as view
from gateway.cli.audited import audited
from gateway.cli.home import (
    Usd,
    config_file,
    echo_json,
    home_option,
    json_option,
    open_ledger,
    open_stores,
)
from gateway.home import Home
from gateway.settlement.config import price_of_io_in
from gateway.settlement.params_file import params_of_file
from gateway.settlement.price_watch import read_once
from ide.params import IdeParams, parameter_table
from ide.replay import replay
from ide.settlement import SettlementStatus, settle
from metering.ledger import Ledger

_ON_CHAIN = {
    "pay": ("gateway.cli.settle_pay", "pay"),
    "payments": ("gateway.cli.settle_pay", "payments"),
    "wallet": ("gateway.cli.settle_wallet", "wallet"),
    "chain-setup": ("gateway.cli.settle_chain", "setup"),
    "chain-check": ("gateway.cli.settle_chain", "check"),
}

_params_file = click.option(
    "--params",
    "params_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="TOML file of IDE parameters; ide.toml in the home if there is one.",
)


class _WithChain(click.Group):
    """Adds the commands on Solana, which need a package of their own, once they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*super().list_commands(ctx), *_ON_CHAIN]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _ON_CHAIN:
            return super().get_command(ctx, cmd_name)
        module, name = _ON_CHAIN[cmd_name]
        if importlib.util.find_spec("solders") is None:
            return _without_solders(cmd_name)
        command: click.Command = getattr(importlib.import_module(module), name)
        return command


def _without_solders(name: str) -> click.Command:
    install = "pip install solders"

    def refuse() -> None:
        raise click.ClickException(
            f"settle {name} needs solders, which is not installed: {install}"
        )

    anything = {"ignore_unknown_options": True, "allow_extra_args": True}
    return click.Command(name, anything, callback=refuse, help=f"Needs {install}")


@click.group(cls=_WithChain)
def command() -> None:
    """Close epochs: pay suppliers, buy back and burn IO."""


@command.command(
    "run",
    epilog="Example: tollgate settle run --io-price 0.16",
)
@click.option(
    "--io-price",
    "io_price_nano_usd",
    type=Usd(),
    help="USD for one IO; else that of the configuration. Without any no IO is moved.",
)
@click.option("--epoch", type=int, help="Close this epoch, even if empty; one closed stays as is.")
@click.option("--even-if-empty", is_flag=True, help="Close the next epoch without any charge too.")
@_params_file
@home_option
@json_option
def run(
    io_price_nano_usd: int | None,
    epoch: int | None,
    even_if_empty: bool,
    params_file: Path | None,
    home: Path,
    as_json: bool,
) -> None:
    """Close the next epoch over all charges, GPU time and final slashes since the last one.

    Closing an epoch again changes nothing, and says so.
    """
    with _ledger(home) as ledger:
        with open_stores(home) as database, audited(home, "settle", "epoch"):
            settlement = settle(
                ledger,
                _params(params_file, home),
                io_price_nano_usd=_price(io_price_nano_usd, home),
                now_ns=time.time_ns(),
                epoch=epoch,
                even_if_empty=even_if_empty or epoch is not None,
                database=database,
            )
        if as_json:
            echo_json(view.settlement_json(settlement, ledger))
            return
        click.echo(view.settlement_line(settlement))
        if settlement.status is SettlementStatus.SETTLED and settlement.row is not None:
            view.print_epoch(settlement.row, ledger)


@command.command("show", epilog="Example: tollgate settle show --epoch 3")
@click.option("--epoch", type=int, help="The last one, if not given.")
@home_option
@json_option
def show(epoch: int | None, home: Path, as_json: bool) -> None:
    """Explain an epoch: every figure with its formula, every payout, and the IO supply."""
    with _ledger(home) as ledger:
        row = view.epoch_or_last(ledger, epoch)
        if as_json:
            echo_json(view.epoch_json(row, ledger))
            return
        view.print_epoch(row, ledger)


@command.command("replay", epilog="Example: tollgate settle replay")
@home_option
@json_option
def replay_(home: Path, as_json: bool) -> None:
    """Work out every epoch anew from the ledger and compare. Exits 1 if one differs."""
    with _ledger(home) as ledger, open_stores(home) as database:
        result = replay(ledger, database)
    if as_json:
        echo_json(view.replay_json(result))
    elif result.ok:
        epochs = "1 epoch" if result.epochs == 1 else f"{result.epochs} epochs"
        click.echo(f"Replayed {epochs}: the same reports, states and hashes.")
    else:
        click.echo(f"Epoch {result.first_bad_epoch} does not replay: {result.problem}")
    sys.exit(0 if result.ok else 1)


@command.command("params", epilog="Example: tollgate settle params --home /var/lib/tollgate")
@_params_file
@home_option
@json_option
def params(params_file: Path | None, home: Path, as_json: bool) -> None:
    """The parameters the next epoch is closed with, each with where it comes from."""
    with view.named_errors():
        table = parameter_table(_params(params_file, home))
    if as_json:
        echo_json({row.name: row._asdict() for row in table})
        return
    view.print_params(table)


command.add_command(settle_proof.proof)
command.add_command(settle_proof.check)
command.add_command(settle_status.status)


@contextlib.contextmanager
def _ledger(home: Path) -> Iterator[Ledger]:
    with view.named_errors(), open_ledger(home) as ledger:
        yield ledger


def _params(file: Path | None, home: Path) -> IdeParams:
    return params_of_file(file or Home(home).ide_file)


def _price(given: int | None, home: Path) -> int | None:
    """What was given, else what the configuration says."""
    file = config_file(home)
    if given is not None or file is None:
        return given
    return read_once(price_of_io_in(file))

"""`tollgate stake`: the least stake of a device, and the operator's slash."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

import click
import msgspec

from gateway.cli.home import echo_json, json_option
from ide.gpu_table import gpu_table
from ide.params import IdeParams
from ide.staking import Offence, Stake, StakeError, StakeParams, minimum_io, slash
from metering.money import format_io


@click.group()
def command() -> None:
    """Stakes: the least a device needs, and slashing."""


@command.command("minimum", epilog="Example: tollgate stake minimum H100-PCIe --processors 8")
@click.argument("gpu_class")
@click.option("--processors", type=click.IntRange(min=1), default=1, show_default=True)
@json_option
def minimum(gpu_class: str, processors: int, as_json: bool) -> None:
    """200 IO x max(1, multiplier) x processors."""
    table = gpu_table(IdeParams().gpu_table)
    assert table is not None
    try:
        least = minimum_io(gpu_class, processors, table, StakeParams())
    except StakeError as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        echo_json({"minimum_io": least})
        return
    click.echo(f"{format_io(least)} IO")


@command.command(
    "slash",
    epilog="Example: tollgate stake slash dev-7.json --offence spoofing --evidence report.pdf",
)
@click.argument("record", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--offence", type=click.Choice([o.value for o in Offence]), required=True)
@click.option(
    "--evidence",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    required=True,
    help="What is shown to the owner; its sha256 goes into the record.",
)
@json_option
def slash_(record: Path, offence: str, evidence: Path, as_json: bool) -> None:
    """Take an offence's share of the stake in RECORD (JSON) into a month's hold."""
    shown = evidence.read_bytes()
    if not shown:
        raise click.ClickException(f"{evidence} is empty: a slash needs evidence")
    try:
        stake = msgspec.json.decode(record.read_bytes(), type=Stake)
        sha256 = hashlib.sha256(shown).hexdigest()
        after = slash(stake, Offence(offence), sha256, time.time_ns(), StakeParams())
    except (msgspec.DecodeError, StakeError) as error:
        raise click.ClickException(f"{record}: {error}") from error
    written = record.with_suffix(".new")
    written.write_bytes(msgspec.json.format(msgspec.json.encode(after)))
    os.replace(written, record)
    held = sum(row.io for row in after.holds[len(stake.holds) :])
    if as_json:
        echo_json({"device": after.device, "held_io": held, "evidence": sha256})
        return
    click.echo(f"{format_io(held)} IO of {after.device} held for appeal; evidence {sha256}")

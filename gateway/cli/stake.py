"""`tollgate stake`: what stands behind devices, and the operator's slash."""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import click

from gateway.cli.audited import audited
from gateway.cli.home import (
    WRITER,
    echo_json,
    echo_table,
    home_option,
    json_option,
    open_ledger,
    open_stores,
)
from gateway.cli.stake_view import moved_json, moved_lines, stake_row
from gateway.home import Home
from gateway.settlement.params_file import params_of_file
from ide.gpu_table import gpu_table
from ide.params import IdeParams, ParamsError
from ide.settlement import SettlementError, open_supply
from ide.stake_book import StakeBook
from ide.stake_journal import Move, Moved
from ide.staking import (
    Offence,
    Stake,
    StakeError,
    StakeParams,
    accept_offer,
    add,
    appeal_won,
    costaker_leaves,
    minimum_io,
    slash,
    unstake,
    withdraw_overflow,
)
from metering.accounts import AccountError
from metering.money import MoneyError, format_io, parse_io

_PARAMS = StakeParams()


class Io(click.ParamType[int]):
    """Read as IO, passed on as base units."""

    name = "io"

    def convert(
        self, value: str | int, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        try:
            return value if isinstance(value, int) else parse_io(value)
        except MoneyError as error:
            self.fail(str(error), param, ctx)


_device = click.argument("device")
_evidence = click.option(
    "--evidence",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    required=True,
    help="What was shown to the owner; its sha256 goes into the ledger.",
)


@click.group()
def command() -> None:
    """Stakes behind devices: staked, left, slashed, won back. All of it is in the ledger."""


@command.command("minimum", epilog="Example: tollgate stake minimum H100-PCIe --processors 8")
@click.argument("gpu_class")
@click.option("--processors", type=click.IntRange(min=1), default=1, show_default=True)
@json_option
def minimum(gpu_class: str, processors: int, as_json: bool) -> None:
    """200 IO x max(1, multiplier) x processors."""
    with _stake_errors():
        least = _minimum(gpu_class, processors)
    if as_json:
        echo_json({"minimum_io": least})
        return
    click.echo(f"{format_io(least)} IO")


@command.command(
    "add", epilog="Example: tollgate stake add dev-7 1600 --owner alice --gpu-class H100-PCIe"
)
@_device
@click.argument("io", type=Io())
@click.option("--owner", help="Whose it is; needed for a device's first stake.")
@click.option("--gpu-class", help="As `stake minimum` takes it; needed for the first stake.")
@click.option("--processors", type=click.IntRange(min=1), default=1, show_default=True)
@json_option
@home_option
def add_(
    device: str,
    io: int,
    owner: str | None,
    gpu_class: str | None,
    processors: int,
    as_json: bool,
    home: Path,
) -> None:
    """Book IO that the owner of DEVICE has staked: from the market's into the device's account."""
    with _book(home) as book, audited(home, "add-stake", device):
        if book.find(device) is not None:
            moved = book.move(device, Move.ADD, lambda held: add(held, io), time.time_ns())
        elif owner is None or gpu_class is None:
            raise click.UsageError(f"{device} has no stake yet: give --owner and --gpu-class")
        else:
            _minimum(gpu_class, processors)
            first = Stake(device=device, owner=owner, gpu_class=gpu_class, processors=processors)
            moved = book.open(add(first, io), time.time_ns())
    _show(moved, as_json)


@command.command("costake", epilog="Example: tollgate stake costake dev-7 400 bob --share 50")
@_device
@click.argument("io", type=Io())
@click.argument("account")
@click.option("--share", type=click.IntRange(0, 100), required=True, help="Of rewards, in percent.")
@json_option
@home_option
def costake(device: str, io: int, account: str, share: int, as_json: bool, home: Path) -> None:
    """Book that ACCOUNT took the owner's offer; its terms are frozen from here."""
    with _book(home) as book, audited(home, "costake", device):
        stakes = [each.stake.costake for each in book.all()]
        claimed = sum(each is not None and each.account == account for each in stakes)

        def accept(held: Stake) -> Stake:
            return accept_offer(held, account, io, share * 10_000, claimed, _PARAMS)

        moved = book.move(device, Move.COSTAKE, accept, time.time_ns())
    _show(moved, as_json)


@command.command("leave", epilog="Example: tollgate stake leave dev-7 --costaker")
@_device
@click.option("--costaker", is_flag=True, help="The co-staker goes, not the owner.")
@click.option("--hired", is_flag=True, help="The device is at work: its owner must stay.")
@click.option("--only", "io", type=Io(), help="So much IO above the minimum, at once.")
@json_option
@home_option
def leave(
    device: str, costaker: bool, hired: bool, io: int | None, as_json: bool, home: Path
) -> None:
    """Let the owner (or co-staker) go: the IO is free after its cooldown."""
    now_ns = time.time_ns()

    def least(held: Stake) -> int:
        return _minimum(held.gpu_class, held.processors)

    def owner_goes(held: Stake) -> Stake:
        return unstake(held, least(held), now_ns, hired=hired, params=_PARAMS)

    def costaker_goes(held: Stake) -> Stake:
        return costaker_leaves(held, now_ns, _PARAMS)

    def part_goes(held: Stake) -> Stake:
        return withdraw_overflow(held, io or 0, least(held))

    changes: dict[Move, Callable[[Stake], Stake]] = {
        Move.WITHDRAW: part_goes,
        Move.COSTAKE_LEAVE: costaker_goes,
        Move.UNSTAKE: owner_goes,
    }
    move = Move.UNSTAKE
    if io is not None or costaker:
        move = Move.COSTAKE_LEAVE if costaker else Move.WITHDRAW
    with _book(home) as book, audited(home, "leave-stake", device):
        moved = book.move(device, move, changes[move], now_ns)
    _show(moved, as_json)


@command.command("release", epilog="Example: tollgate stake release dev-7")
@_device
@json_option
@home_option
def release(device: str, as_json: bool, home: Path) -> None:
    """Book out what has cooled down; every other move does that too."""
    with _book(home) as book, audited(home, "release-stake", device):
        moved = book.move(device, Move.RELEASE, lambda held: held, time.time_ns())
    _show(moved, as_json)


@command.command(
    "slash",
    epilog="Example: tollgate stake slash dev-7 --offence spoofing --evidence report.pdf",
)
@_device
@click.option("--offence", type=click.Choice([o.value for o in Offence]), required=True)
@_evidence
@json_option
@home_option
def slash_(device: str, offence: str, evidence: Path, as_json: bool, home: Path) -> None:
    """Take an offence's share of a stake into a month's hold; then an epoch burns it."""
    now_ns, sha256 = time.time_ns(), _sha256(evidence)

    def take(held: Stake) -> Stake:
        return slash(held, Offence(offence), sha256, now_ns, _PARAMS)

    with _book(home) as book, audited(home, "slash-stake", device):
        moved = book.move(device, Move.SLASH, take, now_ns)
    _show(moved, as_json)


@command.command("appeal-won", epilog="Example: tollgate stake appeal-won dev-7 --evidence r.pdf")
@_device
@_evidence
@json_option
@home_option
def appeal_won_(device: str, evidence: Path, as_json: bool, home: Path) -> None:
    """Give back what was slashed on that evidence, within its month, by way of the cooldown."""
    now_ns, sha256 = time.time_ns(), _sha256(evidence)
    with _book(home) as book, audited(home, "win-appeal", device):
        moved = book.move(
            device, Move.APPEAL_WON, lambda held: appeal_won(held, sha256, now_ns, _PARAMS), now_ns
        )
    _show(moved, as_json)


@command.command("show", epilog="Example: tollgate stake show dev-7")
@_device
@json_option
@home_option
def show(device: str, as_json: bool, home: Path) -> None:
    """A device's stake as its last move left it."""
    with _book(home) as book:
        _show(book.get(device), as_json)


@command.command("list", epilog="Example: tollgate stake list")
@json_option
@home_option
def list_(as_json: bool, home: Path) -> None:
    """All stakes. Exits 1 if one is not what its account in the ledger holds."""
    with _book(home) as book:
        found, differences = book.all(), book.differences()
    if as_json:
        for moved in found:
            echo_json(moved_json(moved))
    else:
        columns = [
            "device",
            "owner",
            "class",
            "active IO ",
            "cooling IO ",
            "held IO ",
            "burned IO ",
        ]
        echo_table("Stakes", columns, [stake_row(moved.stake) for moved in found])
    if differences:
        raise click.ClickException("; ".join(differences))


@contextlib.contextmanager
def _book(home: Path) -> Iterator[StakeBook]:
    """All IO is issued first: before that there is none that anybody could stake."""
    with _stake_errors(), open_ledger(home) as ledger, open_stores(home) as database:
        open_supply(ledger, params_of_file(Home(home).ide_file))
        yield StakeBook(ledger, database, WRITER, _PARAMS)


@contextlib.contextmanager
def _stake_errors() -> Iterator[None]:
    try:
        yield
    except (AccountError, ParamsError, SettlementError, StakeError) as error:
        raise click.ClickException(str(error)) from error


def _minimum(gpu_class: str, processors: int) -> int:
    table = gpu_table(IdeParams().gpu_table)
    assert table is not None
    return minimum_io(gpu_class, processors, table, _PARAMS)


def _sha256(evidence: Path) -> str:
    shown = evidence.read_bytes()
    if not shown:
        raise click.ClickException(f"{evidence} is empty: a slash needs evidence")
    return hashlib.sha256(shown).hexdigest()


def _show(moved: Moved, as_json: bool) -> None:
    if as_json:
        echo_json(moved_json(moved))
        return
    for line in moved_lines(moved):
        click.echo(line)

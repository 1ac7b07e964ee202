"""`tollgate ledger verify`: the books derived anew."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from gateway.cli.home import echo_json, home_option, json_option, open_ledger
from metering.ledger import OnProgress, Verification

WRONG, UNREADABLE = 1, 3


class _UnreadableError(click.ClickException):
    exit_code = UNREADABLE


@click.command("verify")
@json_option
@home_option
def command(as_json: bool, home: Path) -> None:
    """Derive every balance and hash chain anew, and name the first bad row if there is one.

    Ends with 0 if the books are right, 1 if they are wrong, 3 if they could not be read. What
    --json says of `chains` shows later that nobody wrote them anew, if it is kept out of reach.

    Example: tollgate ledger verify --json
    """
    try:
        with open_ledger(home) as ledger, _progress() as on_progress:
            found = ledger.verify(on_progress)
    except click.ClickException as error:
        raise _UnreadableError(error.message) from error
    if as_json:
        echo_json(found)
    else:
        _echo(found)
    if not found.ok:
        raise click.exceptions.Exit(WRONG)


def _echo(found: Verification) -> None:
    if found.ok:
        click.echo(
            f"The books are right: {found.transfers} transfers, {found.charges} charges, "
            f"{found.accounts} accounts, {found.writers} hash chains."
        )
    else:
        where = f" (row {found.first_bad_seq})" if found.first_bad_seq is not None else ""
        click.echo(f"The books are WRONG{where}: {found.problem}", err=True)


@contextlib.contextmanager
def _progress() -> Iterator[OnProgress | None]:
    """A bar, where somebody looks at it."""
    if not sys.stderr.isatty():
        yield None
        return
    columns = (TextColumn("rows"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("rows", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)

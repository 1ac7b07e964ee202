"""`tollgate ledger export`: the books for others to read and to check."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import IO

import click

from gateway.cli.home import echo_json, home_option, json_option, open_ledger
from metering import export
from metering.export import Format, Row
from metering.ledger import BookedTransfer, Ledger

_WRITE_CHARS = 256 * 1024


class _When(click.ParamType[int]):
    """Read as a moment of UTC, passed on as Unix time in nanoseconds."""

    name = "time"

    def convert(
        self, value: str | int, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        if isinstance(value, int):
            return value
        try:
            when = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"'{value}' is no time: say 2026-01-31 or 2026-01-31T12:00:00", param, ctx)
        when = when if when.tzinfo else when.replace(tzinfo=UTC)
        return int(when.timestamp()) * 1_000_000_000 + when.microsecond * 1000


@click.command("export")
@click.argument("what", type=click.Choice(["transfers", "charges", "accounts", "epochs"]))
@click.option(
    "--format",
    "form",
    type=click.Choice([form.value for form in Format]),
    default=Format.JSONL.value,
    show_default=True,
    help="Transfers as jsonl say all that their hashes cover.",
)
@click.option("--from-seq", type=click.IntRange(min=1), default=1, help="The first row.")
@click.option("--to-seq", type=click.IntRange(min=0), help="The last row.")
@click.option("--since", type=_When(), default=0, help="Booked then or later; UTC.")
@click.option("--until", type=_When(), help="Booked before then; UTC.")
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="A file, written whole or not at all. Else standard output.",
)
@json_option
@home_option
def command(
    what: str,
    form: str,
    from_seq: int,
    to_seq: int | None,
    since: int,
    until: int | None,
    output: Path | None,
    as_json: bool,
    home: Path,
) -> None:
    """Print the books, for others to keep and to check (docs/ledger.md has a checker).

    A range is of transfers and charges. Accounts are as they are now, epochs are all of them. With
    --json, what was written is told afterwards; that needs --output.

    \b
    Example: tollgate ledger export transfers --since 2026-01-01 --output january.jsonl
    """
    if as_json and output is None:
        raise click.BadParameter("it tells what was written to a file: name one with --output")
    with open_ledger(home) as ledger:
        rows = ledger.booked(from_seq - 1, to_seq, since_ns=since, until_ns=until)
        lines = _lines(ledger, rows, what, Format(form))
        if output is None:
            _print(lines)
            return
        count = _write_whole(output, lines) - (form == Format.CSV)
    if as_json:
        echo_json({"what": what, "format": form, "rows": count, "file": str(output)})
    else:
        click.echo(f"Wrote {count} {what} to {output}.")


def _lines(
    ledger: Ledger, rows: Iterable[BookedTransfer], what: str, form: Format
) -> Iterator[str]:
    if what == "transfers" and form is Format.JSONL:
        return export.json_lines(map(export.transfer_object, rows))
    tables: dict[str, tuple[Sequence[str], Callable[[], Iterable[Row]]]] = {
        "transfers": (export.TRANSFER_COLUMNS, lambda: map(export.transfer_row, rows)),
        "charges": (export.CHARGE_COLUMNS, lambda: export.charge_rows(rows)),
        "accounts": (
            export.ACCOUNT_COLUMNS,
            lambda: map(export.account_row, ledger.trial_balance()),
        ),
        "epochs": (export.EPOCH_COLUMNS, lambda: map(export.epoch_row, ledger.epochs())),
    }
    columns, found = tables[what]
    if form is Format.CSV:
        return export.csv_lines(columns, found())
    return export.json_lines(map(partial(_named, columns), found()))


def _named(columns: Sequence[str], row: Row) -> dict[str, object]:
    return dict(zip(columns, row, strict=True))


def _print(lines: Iterable[str]) -> None:
    """A reader that has enough, such as `head`, ends it without a word."""
    try:
        _copy(lines, sys.stdout)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _write_whole(path: Path, lines: Iterable[str]) -> int:
    """Beside the file and durable first, then in its place. Returns how many lines."""
    try:
        with _beside(path) as file:
            count = _copy(lines, file)
            file.flush()
            os.fsync(file.fileno())
        return count
    except OSError as error:
        raise click.ClickException(f"{path} was not written: {error.strerror}") from error


@contextlib.contextmanager
def _beside(path: Path) -> Iterator[IO[str]]:
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with open(handle, "w", encoding="utf-8", newline="") as file:
            yield file
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise


def _copy(lines: Iterable[str], file: IO[str]) -> int:
    """Many lines in one write."""
    count = chars = 0
    gathered: list[str] = []
    for line in lines:
        gathered.append(line)
        count, chars = count + 1, chars + len(line)
        if chars >= _WRITE_CHARS:
            file.write("".join(gathered))
            gathered, chars = [], 0
    file.write("".join(gathered))
    return count

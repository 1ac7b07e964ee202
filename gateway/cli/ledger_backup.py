"""`tollgate ledger backup` and `restore`: a copy of the books, and the books from a copy."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import click
import msgspec

from gateway.cli.audited import audited
from gateway.cli.home import echo_json, home_option, json_option, ledger_place
from gateway.doctor.processes import holder
from gateway.home import Home
from metering.backend import open_database, open_ledger
from metering.gateway_register import GatewayRegister
from metering.ledger import Ledger, LedgerError, Verification
from metering.spool_file import SpoolError
from metering.spool_reader import SpoolReader
from metering.sqlite_backup import back_up, put_back

BY_THE_SERVER = (
    "these books are in PostgreSQL, whose own tools make backups: pg_dump, or pg_basebackup with a "
    "WAL archive; docs/backup.md has the commands"
)


class Replay(msgspec.Struct, frozen=True, kw_only=True):
    """What a spool has for books that were restored."""

    spool: str
    rows: int
    """That the next start of its gateway books."""
    lost_rows: int
    """That the books lack, and the spool let go of."""


@click.command("backup")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@json_option
@home_option
def backup(file: Path, as_json: bool, home: Path) -> None:
    """Copy the books into FILE, a new one, and verify the copy. A gateway may serve meanwhile.

    Ends with 1 if the copy's books are wrong, which are those of the ledger then.

    Example: tollgate ledger backup /backup/ledger-$(date -u +%Y%m%dT%H%M%S).db
    """
    where = ledger_place(home)
    if not isinstance(where, Path):
        raise click.ClickException(BY_THE_SERVER)
    try:
        back_up(where, file)
        found, seq = _verified(file)
    except (LedgerError, OSError) as error:
        raise click.ClickException(str(error)) from error
    said = {"file": str(file), "bytes": file.stat().st_size, "last_seq": seq, "verified": found}
    if as_json:
        echo_json(said)
    else:
        mib = file.stat().st_size / (1 << 20)
        click.echo(f"{file}: {mib:.1f} MiB, {found.transfers} transfers, {_verdict(found)}")
    if not found.ok:
        raise click.exceptions.Exit(1)


@click.command("restore")
@click.argument("file", required=False, type=click.Path(dir_okay=False, path_type=Path))
@json_option
@home_option
def restore(file: Path | None, as_json: bool, home: Path) -> None:
    """Put the backup FILE in the place of the books, which are kept beside it; then say what the
    spools will add. No gateway may run on this home.

    For books in PostgreSQL, restore them with the server's own tools first, and give no FILE.
    Either way they get a new name, so that Redis knows nothing of what they were before.

    Example: tollgate ledger restore /backup/ledger-20260101T000000.db
    """
    place = Home(home)
    _refuse_while_serving(place)
    where = ledger_place(home, create=True)
    try:
        aside = _take(file, where)
        found, seq = _verified(where)
        with (
            contextlib.closing(open_database(where)) as database,
            audited(home, "restore-ledger", str(file or "")),
        ):
            GatewayRegister(database).rename_ledger()
        with contextlib.closing(open_ledger(where)) as ledger:
            replays = [_replay(path, ledger) for path in _spools(place)]
    except (LedgerError, SpoolError, OSError) as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        echo_json({"last_seq": seq, "verified": found, "spools": replays, "replaced": aside})
    else:
        _show(found, replays, aside)
    if not found.ok or any(replay.lost_rows for replay in replays):
        raise click.exceptions.Exit(1)


def _refuse_while_serving(home: Home) -> None:
    for path in _spools(home):
        if (pid := holder(path)) is not None:
            raise click.ClickException(
                f"process {pid} serves from {home.path}: stop it first, and every other gateway "
                "on these books"
            )


def _take(file: Path | None, where: Path | str) -> str | None:
    """Bring the backup in; the name that the books before it have now."""
    if not isinstance(where, Path):
        if file is not None:
            raise click.ClickException(BY_THE_SERVER)
        return None
    if file is None:
        raise click.ClickException("name the backup: tollgate ledger restore FILE")
    found, _ = _verified(file)
    if not found.ok:
        raise click.ClickException(f"{file}: {_verdict(found)}; nothing was changed")
    aside = where.with_name(f"{where.name}.replaced-{time.time_ns() // 10**9}")
    there_was_one = where.exists()
    put_back(file, where, aside)
    return str(aside) if there_was_one else None


def _verified(where: Path | str) -> tuple[Verification, int]:
    if isinstance(where, Path) and not where.exists():
        raise LedgerError(f"{where}: there is no such file")
    with contextlib.closing(open_ledger(where)) as ledger:
        return ledger.verify(), ledger.last_seq()


def _spools(home: Home) -> list[Path]:
    first = home.spool_folder(0)
    return [*([first] if first.is_dir() else []), *home.absent_spool_folders(1)]


def _replay(path: Path, ledger: Ledger) -> Replay:
    reader = SpoolReader(path)
    last_seq, forgotten_seq = reader.last_seq(), reader.forgotten_seq()
    booked = ledger.watermark(reader.writer) if reader.writer else 0
    return Replay(
        spool=path.name,
        rows=last_seq - max(booked, forgotten_seq),
        lost_rows=max(0, forgotten_seq - booked),
    )


def _verdict(found: Verification) -> str:
    return "the books are right" if found.ok else f"the books are WRONG: {found.problem}"


def _show(found: Verification, replays: list[Replay], aside: str | None) -> None:
    click.echo(f"{found.transfers} transfers, {found.charges} charges: {_verdict(found)}")
    if aside is not None:
        click.echo(f"What was there before is {aside}")
    for replay in replays:
        click.echo(f"{replay.spool}: {replay.rows} rows are booked by the next start")
        if replay.lost_rows:
            click.echo(
                f"{replay.spool}: {replay.lost_rows} rows are LOST, from before what it still has. "
                "Restore a newer backup; for the next time raise [spool] kept_minutes and "
                f"kept_mib_max. To go on without them, move the folder {replay.spool} away once "
                "its other rows are noted",
                err=True,
            )

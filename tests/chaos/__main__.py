"""`make chaos`: see README.md."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import click
import uvloop

from . import disconnects, rolling, rounds

PARTS = ("rounds", "disconnects", "rolling")
LEDGERS = ("sqlite", "postgres")


@click.command()
@click.option("--only", type=click.Choice(PARTS), help="One part; all if not given.")
@click.option("--rounds", "round_count", default=200, show_default=True, help="Of SIGKILL.")
@click.option(
    "--ledger",
    type=click.Choice(LEDGERS),
    default=LEDGERS[0],
    show_default=True,
    help="Of the rounds: one gateway on SQLite, or two on PostgreSQL, which dies too.",
)
@click.option("--streams", default=1000, show_default=True, help="Cut by their client.")
@click.option("--rolling-streams", default=200, show_default=True, help="Open at once.")
@click.option("--rolling-restarts", default=3, show_default=True, help="Of each gateway.")
@click.option("--seed", default=0, show_default=True)
@click.option(
    "--keep",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for what a failing round leaves; a temporary one if not given.",
)
def main(
    only: str | None,
    round_count: int,
    ledger: str,
    streams: int,
    rolling_streams: int,
    rolling_restarts: int,
    seed: int,
    keep: Path | None,
) -> None:
    """Kill, cut and fill up, under load. Ends with 1 if the books were ever wrong.

    Example: make chaos ARGS='--only rounds --ledger postgres'
    """
    folder = keep or Path(tempfile.mkdtemp(prefix="tollgate-chaos-"))
    failed = False
    if only in (None, "disconnects"):
        cut = folder / "disconnects"
        cut.mkdir(parents=True)
        report = uvloop.run(disconnects.run(cut, streams, seed, _tell))
        sys.stderr.write("\r" + " " * 78 + "\r")
        click.echo("\n".join(disconnects.lines(report)))
        failed |= bool(report.failures)
    if only in (None, "rolling"):
        rolled = uvloop.run(rolling.run(folder / "rolling", rolling_streams, rolling_restarts))
        click.echo("\n".join(rolling.lines(rolled)))
        failed |= bool(rolled.failures)
    if only in (None, "rounds"):
        postgres = ledger == "postgres"
        told = uvloop.run(rounds.run(folder, round_count, seed, click.echo, postgres=postgres))
        click.echo("\n".join(rounds.lines(told)))
        failed |= bool(told.failures)
    sys.exit(failed)


def _tell(report: disconnects.Report) -> None:
    sys.stderr.write(
        f"\r{report.streams} streams cut, {report.exact} charged for the last usage sent, "
        f"failed: {len(report.failures)} "
    )
    sys.stderr.flush()


if __name__ == "__main__":
    main(prog_name="make chaos")

"""`make sim`: see README.md."""

from __future__ import annotations

import sys

import click

from .run import Report, lines, run


@click.command()
@click.option("--seeds", default=5000, show_default=True, help="Worlds, each from a seed.")
@click.option("--from", "first", default=0, show_default=True, help="The first seed.")
@click.option("--sweeps", default=2, show_default=True, help="Lives that are ended at every step.")
def main(seeds: int, first: int, sweeps: int) -> None:
    """Kill spool, poster and ledger at their writes. Ends with 1 if the books were ever wrong.

    Example: make sim ARGS='--seeds 1 --sweeps 0 --from 4711'
    """
    report = run(first, seeds, sweeps, _tell)
    sys.stderr.write("\r" + " " * 78 + "\r")
    click.echo("\n".join(lines(report)))
    sys.exit(bool(report.failures))


def _tell(report: Report) -> None:
    played = report.played
    failed = ", ".join(str(failure.seed) for failure in report.failures)
    sys.stderr.write(
        f"\r{played.worlds} worlds, {played.worlds / report.seconds:.0f}/s, {played.deaths} "
        f"deaths at {len(played.killed_at)} kill points, failed: {failed or 'none'} "
    )
    sys.stderr.flush()


if __name__ == "__main__":
    main(prog_name="make sim")

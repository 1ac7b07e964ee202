"""`make resume`: see README.md."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import click
import uvloop

from .proof import Report, prove

UNHEARD = 4
"""Requests that an engine has read nothing of when it is killed, in each round."""


@click.command()
@click.option("--streams", default=50, show_default=True, help="Broken, at least.")
@click.option("--seed", default=0, show_default=True)
def main(streams: int, seed: int) -> None:
    """Kill real engines in their streams, and before the first byte of some. Ends with 1 if one was
    not as if nothing had happened.

    Example: make resume ARGS='--streams 50'
    """
    with tempfile.TemporaryDirectory(prefix="tollgate-resume-") as folder:
        report = uvloop.run(prove(Path(folder), streams, seed, click.echo, unheard=UNHEARD))
    click.echo("\n".join(lines(report)))
    sys.exit(bool(report.failures))


def lines(report: Report) -> list[str]:
    killed = ", ".join(f"{part} {times}" for part, times in sorted(report.killed.items()))
    places = len(report.places)
    return [
        f"{report.asked} streams asked, {report.broken} broken after {places} different numbers of "
        f"tokens, {report.before_first} before their first byte; engines killed: {killed}",
        f"longest silence of a stream: {report.gap_s:.2f} s; {report.seconds:.0f} s in all",
        *report.failures,
        "each was one answer, equal to the unbroken one, and charged once"
        if not report.failures
        else f"{len(report.failures)} failed",
    ]


if __name__ == "__main__":
    main(prog_name="make resume")

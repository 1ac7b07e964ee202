"""`make fuzz`: see README.md."""

from __future__ import annotations

import sys
import time

import click

from .one import SIDES
from .run import Report, lines, run


@click.command()
@click.option("--side", type=click.Choice([*SIDES, "both"]), default="both", show_default=True)
@click.option("--inputs", default=100_000, show_default=True, help="Of each side.")
@click.option("--seed", default=0, show_default=True, help="The first; one more for each input.")
@click.option("--minutes", type=float, help="Stop a side after so long.")
def main(side: str, inputs: int, seed: int, minutes: float | None) -> None:
    """Feed the gateway what no client and no node should say. Ends with 1 if something broke.

    Example: make fuzz ARGS='--side node --seed 4711 --inputs 1'
    """
    failed = False
    for each in SIDES if side == "both" else (side,):
        until_s = None if minutes is None else time.monotonic() + 60 * minutes
        report = run(each, first_seed=seed, inputs=inputs, until_s=until_s, tell=_tell)
        sys.stderr.write("\r" + " " * 78 + "\r")
        click.echo("\n".join(lines(report)))
        failed |= bool(report.failures)
    sys.exit(failed)


def _tell(report: Report) -> None:
    failed = ", ".join(str(failure.seed) for failure in report.failures)
    sys.stderr.write(
        f"\r{report.side}: {report.inputs} inputs, {report.inputs_per_s:.0f}/s, "
        f"{len(report.outcomes)} kinds of outcome, failed: {failed or 'none'} "
    )
    sys.stderr.flush()


if __name__ == "__main__":
    main(prog_name="make fuzz")

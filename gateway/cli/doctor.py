"""`tollgate doctor`: looks at everything that a gateway stands on, and says what to do."""

from __future__ import annotations

from pathlib import Path

import click

from gateway.cli.home import config_in_use, echo_json, home_option, json_option
from gateway.doctor.doctor import PATIENCE_S, examine
from gateway.doctor.remark import Grade, Remark
from gateway.home import Home

_MARKS = {
    Grade.OK: "ok     ",
    Grade.NOTE: "-      ",
    Grade.WARNING: "WARNING",
    Grade.FAULT: "FAULT  ",
}


@click.command(epilog="Example: tollgate doctor --home /var/lib/tollgate")
@click.option(
    "--patience-s",
    type=click.FloatRange(min=1),
    default=PATIENCE_S,
    show_default=True,
    help="Seconds after which what does not answer is a fault.",
)
@json_option
@home_option
def command(patience_s: float, as_json: bool, home: Path) -> None:
    """Examine configuration, disks, clocks, Redis, the ledger, spools, nodes, Ray and the oracle.

    Changes nothing; a gateway that serves may go on. Ends with 1 if there is a fault: something
    that makes requests fail or puts money at risk. Each comes with what to do.
    """
    place = Home(home)
    found = examine(place, config_in_use(place), patience_s)
    faults = [remark for remark in found if remark.grade is Grade.FAULT]
    warnings = [remark for remark in found if remark.grade is Grade.WARNING]
    if as_json:
        echo_json(
            {
                "ok": not faults,
                "faults": len(faults),
                "warnings": len(warnings),
                "remarks": found,
            }
        )
    else:
        _show(found)
        click.echo(f"{len(faults)} faults, {len(warnings)} warnings.")
    if faults:
        raise click.exceptions.Exit(1)


def _show(found: list[Remark]) -> None:
    for remark in found:
        click.echo(f"{_MARKS[remark.grade]} {remark.check} {remark.subject}: {remark.said}")
        if remark.advice:
            click.echo(f"        -> {remark.advice}")

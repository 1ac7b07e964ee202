"""`tollgate route`: how nodes are chosen."""

from __future__ import annotations

import click

from gateway.cli.route_simulate import simulate


@click.group()
def command() -> None:
    """How nodes are chosen: compare policies in simulated worlds.

    Example: tollgate route simulate --trace azure.csv --scenario wan --seeds 5
    """


command.add_command(simulate)

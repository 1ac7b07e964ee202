"""`tollgate route`: how nodes are chosen."""

from __future__ import annotations

import click

from gateway.cli.route_explain import explain
from gateway.cli.route_liars import liars
from gateway.cli.route_simulate import simulate


@click.group()
def command() -> None:
    """How nodes are chosen: why one was; policies, and liars, in simulated worlds.

    Example: tollgate route simulate --trace azure.csv --scenario wan --seeds 5
    """


command.add_command(explain)
command.add_command(simulate)
command.add_command(liars)

"""Every command either writes the audit trail or is known to change nothing that is in it."""

from __future__ import annotations

import contextlib
import inspect
import os
import subprocess
import sys
from collections.abc import Iterator

import click

from gateway.audit.trail import AuditQuery, AuditTrail
from gateway.cli import main
from metering.backend import open_database

READS = """
key list|key show|account deposits|account list|account show|account statement|account warnings
price list|price show|node audit|node list|node reputation|node show|node time|pools status
drain list|audit|usage|ledger backup|ledger export|ledger trial-balance|ledger verify|doctor
route explain|route liars|route simulate|metrics|scorecard|sla show|oracle
stake list|stake minimum|stake show
settle check-proof|settle params|settle proof|settle replay|settle show|settle status
settle payments|settle wallet history|settle wallet list|simulate
"""
RUNS = "up|serve|node run|node rotate"
"""Processes, and what a supplier does with a node's own keys."""
ELSEWHERE = "pools apply|pools remove|ledger reconcile"
"""They change a Ray cluster; what they find is a finding."""


def names(text: str) -> set[str]:
    return {name for line in text.split("\n") for name in line.split("|") if name}


def commands(found: click.Command, *path: str) -> Iterator[tuple[str, click.Command]]:
    if not isinstance(found, click.Group):
        yield " ".join(path), found
        return
    context = click.Context(found)
    for name in found.list_commands(context):
        command = found.get_command(context, name)
        assert command is not None
        yield from commands(command, *path, name)


def audits(command: click.Command) -> bool:
    """By its own function, or by one of its file that it calls."""
    assert command.callback is not None
    function = inspect.unwrap(command.callback)
    own = vars(inspect.getmodule(function))
    called = (own.get(name) for name in function.__code__.co_names)
    helpers = (each for each in called if inspect.isfunction(each))
    return any("audited" in each.__code__.co_names for each in (function, *helpers))


def test_a_command_that_changes_something_is_in_the_trail():
    found = dict(commands(main))
    silent = {name for name, command in found.items() if not audits(command)}
    assert silent == names(READS) | names(RUNS) | names(ELSEWHERE)


def test_what_was_done_is_done_though_nobody_reads_what_is_printed_of_it(tmp_path):
    with contextlib.closing(open_database(tmp_path / "ledger.db")) as database:
        read, write = os.pipe()
        os.close(read)
        asked = ["settle", "run", "--even-if-empty", "--home", str(tmp_path)]
        done = subprocess.run(
            [sys.executable, "-m", "gateway", *asked],
            stdout=write,
            stderr=subprocess.DEVNULL,
            check=False,
            timeout=60,
        )
        os.close(write)
        assert done.returncode != 0
        (last, _) = AuditTrail(database).newest(AuditQuery())
    assert (last[1].action, last[1].outcome) == ("settle", "done")

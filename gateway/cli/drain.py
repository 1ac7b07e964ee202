"""`tollgate drain`: nodes and models that get no new requests."""

from __future__ import annotations

import time
from pathlib import Path

import click

from gateway.cli.audited import audited
from gateway.cli.home import echo_json, echo_table, home_option, json_option, open_stores
from gateway.cli.known import remark_model, remark_node
from gateway.drain_store import DrainKind, DrainStore
from gateway.home import Home
from gateway.views.drains import drains_json
from metering.month import time_text

_end = click.option("--end", is_flag=True, help="Let it get requests again.")


@click.group()
def command() -> None:
    """Drain nodes or models: no new requests; those under way end as they would."""


@command.command()
@click.argument("node_id", metavar="NODE")
@_end
@json_option
@home_option
def node(node_id: str, end: bool, as_json: bool, home: Path) -> None:
    """Drain a node, whoever lists it, on every gateway of this ledger, within seconds.

    \b
    Example: tollgate drain node node-1
    Example: tollgate drain node node-1 --end
    """
    _drain(DrainKind.NODE, node_id, end, as_json, home)


@command.command()
@click.argument("model_id", metavar="MODEL")
@_end
@json_option
@home_option
def model(model_id: str, end: bool, as_json: bool, home: Path) -> None:
    """Drain a model: all its nodes, those to come too. Requests get 429 `model_drained`.

    \b
    Example: tollgate drain model llama-3.3-70b
    Example: tollgate drain model llama-3.3-70b --end
    """
    _drain(DrainKind.MODEL, model_id, end, as_json, home)


@command.command("list")
@json_option
@home_option
def list_(as_json: bool, home: Path) -> None:
    """What is drained now.

    Example: tollgate drain list
    """
    with open_stores(home) as database:
        drains = DrainStore(database).load()
    if as_json:
        echo_json(drains_json(drains))
        return
    rows = [
        [kind, name, time_text(since_ns)]
        for kind in DrainKind
        for name, since_ns in drains.of(kind).items()
    ]
    echo_table("Drained", ["what", "id", "since (UTC)"], rows)


def _drain(kind: DrainKind, name: str, end: bool, as_json: bool, home: Path) -> None:
    action = f"undrain-{kind}" if end else f"drain-{kind}"
    with open_stores(home) as database, audited(home, action, name):
        store = DrainStore(database)
        if end:
            store.end(kind, name)
        else:
            store.drain(kind, name, time.time_ns())
            if kind is DrainKind.NODE:
                remark_node(Home(home), database, name)
            else:
                remark_model(Home(home), name)
        drains = store.load()
    if as_json:
        echo_json(drains_json(drains))
    elif end:
        click.echo(f"{name} gets requests again, if its nodes are ready.")
    else:
        click.echo(f"{name} gets no new requests: `tollgate drain {kind} {name} --end` ends that.")

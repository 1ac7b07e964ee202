"""`tollgate node reputation`: nodes' scores, and what one is made of."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from gateway.cli.home import (
    config_file,
    echo_json,
    echo_table,
    home_option,
    json_option,
    open_stores,
)
from gateway.config import load
from gateway.config_error import ConfigError
from gateway.reputation.config import ReputationConfig
from gateway.reputation.view import reputation_json
from metering.reputation_store import ReputationStore
from router.conduct import Conducts
from router.reputation import Evidence, faded

_KINDS = {str(kind): kind for kind in Evidence}


@click.command()
@click.argument("node", required=False)
@json_option
@home_option
def reputation(node: str | None, as_json: bool, home: Path) -> None:
    """Every node's score and tier, the worst first; of one node, what it is made of.

    As gateways wrote it last, which they do within seconds of anything bad. With --json, one
    object a line.

    Example: tollgate node reputation n-abc
    """
    conducts = _read(home)
    found = [
        told
        for conduct in conducts.all()
        if (told := reputation_json(conducts, conduct.node_id, 0)) is not None
        if node in (None, conduct.node_id)
    ]
    if node is not None and not found:
        raise click.ClickException(
            f"nothing was ever written of '{node}': `tollgate node reputation` lists who there is"
        )
    found.sort(key=lambda told: (told["score"], told["node"]))
    if as_json:
        for told in found:
            echo_json(told)
    elif node is None:
        columns = ["node", "supplier", "score ", "tier", "supplier's score "]
        echo_table("Reputation", columns, [_row(told) for told in found])
    else:
        _explain(found[0])


def _read(home: Path) -> Conducts:
    """As of now, which is 0 on its clock."""
    file = config_file(home)
    try:
        settings = ReputationConfig() if file is None else load(file).reputation
    except ConfigError as error:
        raise click.ClickException(str(error)) from error
    conducts, wall_ns = Conducts(settings.terms()), time.time_ns()
    with open_stores(home) as database:
        rows = ReputationStore(database).since(0)
    for row in rows:
        memory = {_KINDS[kind]: value for kind, value in row.memory.items() if kind in _KINDS}
        left = faded(memory, wall_ns - row.as_of_ns, conducts.terms.half_life_ns)
        conducts.of(row.node_id, row.supplier_id).replace(left, 0)
    conducts.refresh(0)
    return conducts


def _row(told: dict[str, Any]) -> list[str]:
    supplier = told["supplier"]
    return [told["node"], supplier["id"], str(told["score"]), told["tier"], str(supplier["score"])]


def _explain(told: dict[str, Any]) -> None:
    supplier = told["supplier"]
    click.echo(
        f"{told['node']} of {supplier['id']}: {told['score']} of 1000, {told['tier']} "
        f"(below {told['bound']} it gets nothing of customers); the supplier: {supplier['score']}"
    )
    rows = [
        [
            name,
            str(question["score"]),
            f"{question['kept']:.1f}",
            f"{question['broken']:.1f}",
            each["kind"],
            f"{each['remembered']:.2f}",
            f"{each['weight']:g}",
        ]
        for name, question in told["questions"].items()
        for each in question["evidence"] or [{"kind": "", "remembered": 0.0, "weight": 0.0}]
    ]
    columns = ["question", "score ", "kept ", "broken ", "evidence", "remembered ", "weight "]
    echo_table("What it is made of", columns, rows)

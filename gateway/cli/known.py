"""A word about a name that nobody here knows: it may be one to come, and is mostly a slip."""

from __future__ import annotations

import difflib

import click

from gateway.cli.home import config_in_use
from gateway.config import Config, load
from gateway.config_error import ConfigError
from gateway.enrolment.node_store import NodeStore, UnknownNodeError
from gateway.home import Home
from gateway.settlement.params_file import params_of_file
from ide.params import ParamsError, stipend_rates
from metering.database import Database


def remark_model(home: Home, model: str) -> None:
    config = _config(home)
    if config is not None:
        _remark(f"no model '{model}'", model, [each.id for each in config.model])


def remark_node(home: Home, database: Database, node_id: str) -> None:
    """Which nodes Ray has is not known here."""
    config = _config(home)
    if config is None or config.ray is not None:
        return
    try:
        NodeStore(database).find(node_id)
    except UnknownNodeError:
        names = [node.id for node in config.node]
        _remark(f"no node '{node_id}', and none enrolled as that", node_id, names)


def remark_invitation(home: Home, gpu: str | None) -> None:
    """What keeps a node from enrolling by it, or from earning for its time."""
    config = _config(home)
    if config is not None and config.enrolment is None:
        click.echo(
            "Note: the configuration has no [enrolment]: no node can enrol before it has one.",
            err=True,
        )
    remark_gpu(home, gpu)


def remark_gpu(home: Home, gpu: str | None) -> None:
    try:
        rates = stipend_rates(params_of_file(home.ide_file))
    except ParamsError:
        return
    if gpu and gpu not in rates:
        close = difflib.get_close_matches(gpu, rates, 1, 0.0)
        meant = f"; did you mean {close[0]}?" if close else "."
        click.echo(f"Note: no rate is known of '{gpu}', its time earns nothing{meant}", err=True)


def _config(home: Home) -> Config | None:
    """None: there is none, or one that its owner hears about elsewhere."""
    file = config_in_use(home)
    try:
        return None if file is None else load(file)
    except ConfigError:
        return None


def _remark(missing: str, name: str, known: list[str]) -> None:
    if name not in known:
        click.echo(f"Note: the configuration has {missing}, only: {', '.join(known)}.", err=True)

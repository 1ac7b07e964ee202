"""`tollgate ledger reconcile`: nodes' counters and spools against the ledger; what was found."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import msgspec

from gateway.cli.home import (
    config_in_use,
    echo_json,
    echo_table,
    home_option,
    json_option,
    open_ledger,
    open_stores,
)
from gateway.config import Config, ConfigError, load
from gateway.home import Home
from gateway.honesty.counter_check import CounterCheck
from gateway.honesty.node_counters import NodeCounters
from metering.database import Database
from metering.finding import Finding
from metering.finding_store import FindingStore
from metering.reading_store import ReadingStore
from metering.reconcile import Comparison
from metering.spool_check import SpoolCheck, check_spool
from metering.spool_file import SpoolError
from router.types import NodeRecord
from serving.ray_dashboard import RayDashboard, RayUnavailableError
from serving.ray_discovery import RayDiscovery

FINDINGS_SHOWN = 20


@click.command("reconcile")
@click.option("--no-nodes", is_flag=True, help="Ask no node for its counters.")
@json_option
@home_option
def command(no_nodes: bool, as_json: bool, home: Path) -> None:
    """Hold the ledger against nodes' own counters and against the spools; list what was found.

    Each run reads the counters of every vLLM node and compares them with the reading before it. A
    gateway that serves may go on meanwhile. Findings are evidence: no bill changes because of one.
    Exits with 1 if the ledger exceeds a node's counters now, or if a spool and the ledger differ.

    Example: tollgate ledger reconcile --json
    """
    place = Home(home)
    with open_ledger(home) as ledger, open_stores(home) as database:
        store = FindingStore(database)
        compared: list[Comparison] = []
        if not no_nodes:
            config = _config(place)
            check = CounterCheck(ReadingStore(database), _counters(config), ledger.last_seq)
            compared = check.run(_nodes(config))
            store.add([found.finding for found in compared if found.finding is not None])
        spools = [_spool(path, ledger.watermark, database) for path in _spools(place)]
        newest = store.newest(limit=FINDINGS_SHOWN)
        counts = store.counts()
    agrees = all(c.finding is None for c in compared) and all(s.agrees for s in spools)
    if as_json:
        echo_json(_json(agrees, compared, spools, counts, [finding for _, finding in newest]))
    else:
        _show(compared, spools, [finding for _, finding in newest], sum(counts.values()))
    if not agrees:
        raise click.exceptions.Exit(1)


def _config(home: Home) -> Config:
    try:
        return load(config_in_use(home) or home.config_file)
    except ConfigError as error:
        raise click.ClickException(f"{error} (or leave the nodes out: --no-nodes)") from error


def _counters(config: Config) -> NodeCounters:
    try:
        keys = {node.id: key for node in config.node if (key := node.api_key()) is not None}
        tls = {node.id: tls for node in config.node if (tls := node.tls()) is not None}
    except ConfigError as error:
        raise click.ClickException(str(error)) from error
    return NodeCounters(keys, tls)


def _nodes(config: Config) -> list[NodeRecord]:
    records = [node.record() for node in config.node]
    if config.ray is not None:
        ray = config.ray
        try:
            dashboard = RayDashboard(ray.dashboard_url, ray.token_path)
            records += asyncio.run(RayDiscovery(dashboard).poll()).records
        except RayUnavailableError as error:
            raise click.ClickException(f"Ray cannot be asked for its nodes: {error}") from error
    return records


def _spools(home: Home) -> list[Path]:
    first = home.spool_folder(0)
    return [*([first] if first.exists() else []), *home.absent_spool_folders(1)]


def _spool(path: Path, watermark: Callable[[str], int], database: Database) -> SpoolCheck:
    try:
        return check_spool(path, watermark, database)
    except (SpoolError, OSError) as error:
        raise click.ClickException(f"spool {path}: {error}") from error


def _json(
    agrees: bool,
    compared: list[Comparison],
    spools: list[SpoolCheck],
    counts: dict[tuple[str, str], int],
    newest: list[Finding],
) -> dict[str, Any]:
    return {
        "agrees": agrees,
        "nodes": compared,
        "spools": [{**msgspec.structs.asdict(s), "agrees": s.agrees} for s in spools],
        "findings": {
            "counts": [
                {"node_id": node_id, "kind": kind, "findings": count}
                for (node_id, kind), count in counts.items()
            ],
            "newest": newest,
        },
    }


def _show(
    compared: list[Comparison], spools: list[SpoolCheck], newest: list[Finding], findings: int
) -> None:
    if compared:
        columns = ["node", "verdict", "charges ", "ledger ", "node's own ", "why"]
        echo_table(
            "Nodes' counters: prompt + completion tokens", columns, [_node(c) for c in compared]
        )
    for spool in spools:
        booked, waiting = spool.in_spool.charges, spool.waiting
        verdict = "agrees with the ledger" if spool.agrees else f"DIFFERS: {spool.first_wrong}"
        click.echo(f"{spool.spool}: {booked} charges booked, {waiting} waiting; {verdict}")
    if not newest:
        click.echo("No finding about any node.")
        return
    echo_table(
        f"Findings: the newest {len(newest)} of {findings}",
        ["node", "supplier", "kind", "request", "expected ", "claimed "],
        [
            [f.node_id, f.supplier_id, f.kind, f.request_id or "", str(f.expected), str(f.claimed)]
            for f in newest
        ],
    )


def _node(found: Comparison) -> list[str]:
    return [
        found.node_id,
        found.verdict,
        str(found.charges),
        f"{found.ledger_prompt_tokens} + {found.ledger_completion_tokens}",
        f"{found.node_prompt_tokens} + {found.node_completion_tokens}",
        found.problem,
    ]

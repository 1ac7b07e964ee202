"""`tollgate pools`: the models of the configuration on a Ray cluster."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click
import msgspec

from gateway.cli.home import config_file, echo_json, echo_table, home_option, json_option
from gateway.config import Config, load
from gateway.config_error import ConfigError
from gateway.pools.applications import applications
from serving.pool_plan import Change, Plan, plan
from serving.pool_state import PoolState, pool_states
from serving.ray_app import MANAGED_BY, AppPhase
from serving.ray_dashboard import RayDashboard, RayRefusedError, RayUnavailableError

_LOOK_S = 1.0
_TIMEOUT_S = 30.0
"""Of a dashboard whose machine starts engines, too."""

_wait = click.option(
    "--wait",
    "wait_s",
    type=click.IntRange(min=0),
    default=0,
    metavar="SECONDS",
    help="Until every pool has its replicas, or has ended.  [default: do not]",
)


@click.group()
def command() -> None:
    """Models on a Ray cluster: apply the configuration, show what runs, remove it.

    The cluster is the one that [ray] names.
    """


@command.command()
@click.option("--prune", is_flag=True, help="Remove pools that the configuration no longer names.")
@click.option("--dry-run", is_flag=True, help="Only say what would change.")
@_wait
@json_option
@home_option
def apply(prune: bool, dry_run: bool, wait_s: int, as_json: bool, home: Path) -> None:
    """Make the cluster run every [[model.pool]]; what runs as configured is not touched.

    A change of the engine starts new replicas and drains the old; a change of bounds, delays or
    labels of the node's record restarts nothing. Applications of others stay.

    Example: tollgate pools apply --wait 600
    """
    config, dashboard = _opened(home)
    wanted = _wanted(config)
    if not wanted:
        raise click.ClickException("no [[model]] has a [[model.pool]]: there is nothing to apply")
    planned = _plan(config, dashboard, wanted, prune=prune)
    if planned.is_needed and not dry_run:
        _deploy(dashboard, planned)
    _tell_changes(planned, as_json)
    if wait_s and not dry_run:
        gone = {name for name, change in planned.changes.items() if change is Change.REMOVED}
        _wait_for(dashboard, {app["name"] for app in wanted}, gone, wait_s)


@command.command()
@json_option
@home_option
def status(as_json: bool, home: Path) -> None:
    """The pools that run: replicas, their bounds, what Ray says of them.

    Example: tollgate pools status --json
    """
    _, dashboard = _opened(home)
    pools = pool_states(_applications(dashboard))
    if as_json:
        echo_json({"object": "list", "data": [_json(pool) for pool in pools]})
        return
    columns = ["Model", "Pool", "Supplier", "State", "Running ", "Wanted ", "Bounds ", "Detail"]
    echo_table("Pools", columns, [_row(pool) for pool in pools])


def _row(pool: PoolState) -> list[str]:
    return [
        pool.model,
        pool.pool,
        pool.supplier_id,
        pool.phase.value,
        str(pool.running),
        str(pool.target),
        f"{pool.replicas_min}-{pool.replicas_max}",
        "" if pool.phase is AppPhase.RUNNING else pool.detail,
    ]


@command.command()
@click.argument("models", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Every pool that this command ever made.")
@_wait
@json_option
@home_option
def remove(
    models: tuple[str, ...], everything: bool, wait_s: int, as_json: bool, home: Path
) -> None:
    """Drain and end all pools of these models.

    Example: tollgate pools remove qwen3-8b --wait 700
    """
    if everything == bool(models):
        raise click.UsageError("name models, or say --all")
    config, dashboard = _opened(home)
    ours = [
        pool
        for pool in pool_states(_applications(dashboard))
        if pool.managed_by == MANAGED_BY and (everything or pool.model in models)
    ]
    gone = {pool.app for pool in ours}
    missing = set(models) - {pool.model for pool in ours}
    if missing:
        raise click.ClickException(f"no pool of {', '.join(sorted(missing))} runs")
    planned = _without(_plan(config, dashboard, [], prune=False), gone)
    if gone:
        _deploy(dashboard, planned)
    _tell_changes(planned, as_json)
    if wait_s:
        _wait_for(dashboard, set(), gone, wait_s)


def _without(planned: Plan, gone: set[str]) -> Plan:
    """The same, but for these applications."""
    left = [app for app in planned.config["applications"] if app["name"] not in gone]
    return Plan(
        config={**planned.config, "applications": left},
        changes=dict.fromkeys(sorted(gone), Change.REMOVED),
    )


def _opened(home: Path) -> tuple[Config, RayDashboard]:
    file = config_file(home)
    if file is None:
        raise click.ClickException(f"{home} has no tollgate.toml; name one with --config")
    try:
        config = load(file)
    except ConfigError as error:
        raise click.ClickException(str(error)) from error
    if config.ray is None:
        raise click.ClickException(f"{file} names no cluster: set [ray] dashboard_url")
    return config, RayDashboard(config.ray.dashboard_url, config.ray.token_path, _TIMEOUT_S)


def _wanted(config: Config) -> list[dict[str, Any]]:
    try:
        return applications(config)
    except ConfigError as error:
        raise click.ClickException(str(error)) from error


def _plan(
    config: Config, dashboard: RayDashboard, wanted: list[dict[str, Any]], *, prune: bool
) -> Plan:
    ray = config.ray
    assert ray is not None
    state = _applications(dashboard)
    return plan(state, wanted, prune=prune, host=ray.host, proxy_port=ray.proxy_port)


def _applications(dashboard: RayDashboard) -> dict[str, Any]:
    try:
        return dashboard.applications()
    except (RayUnavailableError, RayRefusedError) as error:
        raise click.ClickException(f"Ray cannot be asked: {error}") from error


def _deploy(dashboard: RayDashboard, planned: Plan) -> None:
    try:
        dashboard.deploy(planned.config)
    except (RayUnavailableError, RayRefusedError) as error:
        raise click.ClickException(f"Ray did not take it: {error}") from error


def _tell_changes(planned: Plan, as_json: bool) -> None:
    changes = [{"app": app, "change": change.value} for app, change in planned.changes.items()]
    if as_json:
        echo_json({"object": "list", "data": changes})
        return
    for change in changes:
        click.echo(f"{change['app']}: {change['change']}")


def _wait_for(dashboard: RayDashboard, wanted: set[str], gone: set[str], wait_s: int) -> None:
    """Raises click.ClickException when a pool fails, or the time is over."""
    deadline_s = time.monotonic() + wait_s
    while True:
        state = _applications(dashboard)
        pools = {pool.app: pool for pool in pool_states(state)}
        for pool in pools.values():
            if pool.app in wanted and pool.has_failed:
                raise click.ClickException(f"{pool.app} failed: {pool.detail}")
        late = [app for app in wanted if app not in pools or not _is_settled(pools[app])]
        late += [app for app in gone if app in state.get("applications", {})]
        if not late:
            return
        if time.monotonic() > deadline_s:
            raise click.ClickException(f"after {wait_s} s not done: {', '.join(sorted(late))}")
        time.sleep(_LOOK_S)


def _is_settled(pool: PoolState) -> bool:
    """It has the replicas that it should, and no others."""
    exact = all(replica.state == "RUNNING" for replica in pool.replicas)
    return (
        pool.phase is AppPhase.RUNNING
        and exact
        and pool.running >= max(pool.replicas_min, pool.target)
    )


def _json(pool: PoolState) -> dict[str, Any]:
    told: dict[str, Any] = msgspec.to_builtins(pool)
    return {**told, "running": pool.running}

"""What must change on a cluster so that it runs the pools of a configuration. Pure."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

import msgspec

from serving.pool_state import user_config
from serving.ray_app import MANAGED_BY, serve_config

_ENGINE = ("import_path", "args", "runtime_env", "route_prefix")
"""A change of these starts new replicas."""
_INITIAL = "initial_replicas"


class Change(StrEnum):
    CREATED = "created"
    ROLLED = "rolled"
    """New replicas come, the old ones drain."""
    ADJUSTED = "adjusted"
    """How many there may be, or what is told of them: no replica is restarted for it."""
    UNCHANGED = "unchanged"
    REMOVED = "removed"
    LEFT = "left"
    """One of ours that the configuration does not name; `--prune` removes it."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    config: dict[str, Any]
    """The whole of what Serve is to run."""
    changes: dict[str, Change]
    """By application of ours."""

    @property
    def is_needed(self) -> bool:
        return any(
            change not in (Change.UNCHANGED, Change.LEFT) for change in self.changes.values()
        )


def plan(
    state: Mapping[str, Any],
    wanted: Sequence[dict[str, Any]],
    *,
    prune: bool,
    host: str,
    proxy_port: int,
) -> Plan:
    """From what `GET /api/serve/applications/` says to `wanted`, applications in Serve's schema.

    Applications of others stay as they are. `host` and `proxy_port` are for a Serve that does not
    run yet: one that runs keeps its own.
    """
    running = {
        name: app
        for name, app in state.get("applications", {}).items()
        if app.get("deployed_app_config") and app.get("status") != "DELETING"
    }
    names = {app["name"] for app in wanted}
    changes = {app["name"]: _change(running.get(app["name"]), app) for app in wanted}
    kept = []
    for name, app in running.items():
        if name in names:
            continue
        ours = user_config(app).get("managed_by") == MANAGED_BY
        if ours:
            changes[name] = Change.REMOVED if prune else Change.LEFT
        if not (ours and prune):
            kept.append(app["deployed_app_config"])
    http = state.get("http_options") or {}
    apps = [_asleep(app) if changes[app["name"]] is Change.CREATED else app for app in wanted]
    config = serve_config([*kept, *apps], http.get("port") or proxy_port, http.get("host") or host)
    return Plan(config=config, changes=changes)


def _asleep(app: dict[str, Any]) -> dict[str, Any]:
    """The same with no replica at first, where it may have none: without being told Serve starts
    one. Only what is created is told so, for Serve returns to that number whenever a bound or a
    delay changes.
    """
    (deployment,) = app["deployments"]
    autoscaling = deployment.get("autoscaling_config")
    if autoscaling is None or autoscaling["min_replicas"]:
        return app
    told = {**deployment, "autoscaling_config": {**autoscaling, _INITIAL: 0}}
    return {**app, "deployments": [told]}


def _change(running: Mapping[str, Any] | None, wanted: dict[str, Any]) -> Change:
    if running is None:
        return Change.CREATED
    deployed = running["deployed_app_config"]
    if any(deployed.get(field) != wanted[field] for field in _ENGINE):
        return Change.ROLLED
    (told,), (new,) = deployed.get("deployments") or [{}], wanted["deployments"]
    if told.get("ray_actor_options") != new["ray_actor_options"]:
        return Change.ROLLED
    # What runs by default is not echoed, so only what is wanted is compared, and that both ways
    # of saying how many there are is not.
    same = all(_since_created(told.get(field)) == value for field, value in new.items())
    counted = ("num_replicas" in told) == ("num_replicas" in new)
    return Change.UNCHANGED if same and counted else Change.ADJUSTED


def _since_created(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    return {key: each for key, each in value.items() if key != _INITIAL}

"""What Serve says of the pools that it runs. Pure: its answer in, values out."""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from serving.ray_app import AppPhase, app_state

REPLICA = "SERVE_REPLICA::"


class ReplicaState(msgspec.Struct, frozen=True, kw_only=True):
    replica_id: str
    state: str
    """Serve's word: STARTING, RUNNING, STOPPING and others."""
    ray_node_id: str
    """Of the machine in Ray's cluster; empty while it has none."""


class PoolState(msgspec.Struct, frozen=True, kw_only=True):
    """One (model, pool) as it is."""

    app: str
    model: str
    pool: str
    supplier_id: str
    gpu: str
    phase: AppPhase
    detail: str
    has_failed: bool
    """Serve has given up; a pool that is merely unwell gets new replicas."""
    replicas_min: int
    replicas_max: int
    target: int
    """Replicas that Serve wants now."""
    replicas: tuple[ReplicaState, ...]
    wake_order: int
    wake_url: str
    """Where a request brings the first replica; empty when there is one, or none is needed."""
    managed_by: str

    @property
    def running(self) -> int:
        """Replicas that take requests."""
        return sum(replica.state == "RUNNING" for replica in self.replicas)


def pool_states(state: Mapping[str, Any]) -> list[PoolState]:
    """The pools in an answer of `GET /api/serve/applications/`, by name of their application."""
    wake_urls = dict(_wake_urls(state))
    return [
        found
        for name, app in sorted(state.get("applications", {}).items())
        if (found := _pool_state(state, name, app, wake_urls.get(name, ""))) is not None
    ]


def user_config(app: Mapping[str, Any]) -> Mapping[str, Any]:
    """What we told Serve of an application; empty if it is not ours."""
    deployments = (app.get("deployed_app_config") or {}).get("deployments") or [{}]
    told = deployments[0].get("user_config")
    return told if isinstance(told, dict) and isinstance(told.get("node"), dict) else {}


def _pool_state(
    state: Mapping[str, Any], name: str, app: Mapping[str, Any], wake_url: str
) -> PoolState | None:
    told = user_config(app)
    if not told:
        return None
    node = told["node"]
    (wanted,) = app["deployed_app_config"]["deployments"]
    scaling = wanted.get("autoscaling_config") or {}
    fixed = wanted.get("num_replicas") or 1
    deployments = list(app.get("deployments", {}).values())
    replicas = tuple(_replica(replica) for each in deployments for replica in each["replicas"])
    judged = app_state(state, name)
    return PoolState(
        app=name,
        model=node["model"],
        pool=node["pool"],
        supplier_id=node["supplier_id"],
        gpu=node["gpu"],
        phase=judged.phase,
        detail=judged.detail,
        has_failed=app.get("status") == "DEPLOY_FAILED",
        replicas_min=scaling.get("min_replicas", fixed),
        replicas_max=scaling.get("max_replicas", fixed),
        target=sum(each.get("target_num_replicas") or 0 for each in deployments),
        replicas=replicas,
        wake_order=told["wake_order"],
        wake_url=wake_url,
        managed_by=told["managed_by"],
    )


def _replica(replica: Mapping[str, Any]) -> ReplicaState:
    return ReplicaState(
        replica_id=str(replica["replica_id"]),
        state=str(replica["state"]),
        ray_node_id=str(replica.get("node_id") or ""),
    )


def _wake_urls(state: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """An application without a running replica has Serve's proxy for its target."""
    for group in state.get("target_groups", ()):
        if group.get("protocol") != "HTTP":
            continue
        for target in group.get("targets", ()):
            if not str(target.get("name", "")).startswith(REPLICA):
                prefix = str(group.get("route_prefix") or "").rstrip("/")
                yield group.get("app_name"), f"http://{target['ip']}:{target['port']}{prefix}"

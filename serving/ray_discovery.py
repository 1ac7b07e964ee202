"""Node records from Ray Serve: one per replica that listens on a port of its own.

Serve lists a dead replica for 8 to 16 s more; the router's own ejection is what reacts at once.
"""

import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec

from router.types import NodeRecord
from serving.pool_state import REPLICA, PoolState, pool_states, user_config
from serving.ray_dashboard import RayDashboard


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What one look at a cluster showed."""

    records: list[NodeRecord]
    """All replicas that take requests now."""
    pools: list[PoolState]


class RayDiscovery:
    """Reads the replicas of one cluster; call `poll` every one or two seconds."""

    def __init__(self, dashboard: RayDashboard) -> None:
        self._dashboard = dashboard

    async def poll(self) -> Found:
        """Raises `RayUnavailableError` when the dashboard cannot be asked: keep what was found
        before, for replicas serve on while a dashboard restarts.
        """
        state = await asyncio.to_thread(self._dashboard.applications)
        return Found(records=node_records(state), pools=pool_states(state))


def node_records(state: Mapping[str, Any]) -> list[NodeRecord]:
    """The records in an answer of `GET /api/serve/applications/`.

    A group whose target is Serve's proxy has no replica. Records are keyed by the replica's id:
    Ray gives the port of a dead replica to another.
    """
    records = []
    for group in state.get("target_groups", ()):
        app = state.get("applications", {}).get(group.get("app_name"), {})
        told = user_config(app)
        if group.get("protocol") != "HTTP" or not told:
            continue
        prefix = str(group.get("route_prefix") or "").rstrip("/")
        for target in group.get("targets", ()):
            name = str(target.get("name", ""))
            if name.startswith(REPLICA):
                url = f"http://{target['ip']}:{target['port']}{prefix}"
                node_id = name.removeprefix(REPLICA).replace("#", ".")
                records.append(NodeRecord(node_id=node_id, url=url, engine="vllm", **told["node"]))
    return records

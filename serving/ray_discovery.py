"""Node records from Ray Serve: one per replica that listens on a port of its own.

Serve lists a dead replica for 8 to 16 s more; the router's own ejection is what reacts at once.
"""

import asyncio
from collections.abc import Mapping
from typing import Any

from router.types import NodeRecord
from serving.ray_dashboard import RayDashboard

_REPLICA = "SERVE_REPLICA::"


class RayDiscovery:
    """Reads the replicas of one cluster; call `poll` every one or two seconds."""

    def __init__(self, dashboard: RayDashboard) -> None:
        self._dashboard = dashboard

    async def poll(self) -> list[NodeRecord]:
        """All replicas that take requests now.

        Raises `RayUnavailableError` when the dashboard cannot be asked: keep the records of before,
        for replicas serve on while a dashboard restarts.
        """
        return node_records(await asyncio.to_thread(self._dashboard.applications))


def node_records(state: Mapping[str, Any]) -> list[NodeRecord]:
    """The records in an answer of `GET /api/serve/applications/`.

    A group whose target is Serve's proxy has no replica. Records are keyed by the replica's id:
    Ray gives the port of a dead replica to another.
    """
    records = []
    for group in state.get("target_groups", ()):
        app = state.get("applications", {}).get(group.get("app_name"), {})
        node = (app.get("deployed_app_config") or {}).get("args", {}).get("node")
        if group.get("protocol") != "HTTP" or not isinstance(node, dict):
            continue
        prefix = str(group.get("route_prefix") or "").rstrip("/")
        for target in group.get("targets", ()):
            name = str(target.get("name", ""))
            if name.startswith(_REPLICA):
                url = f"http://{target['ip']}:{target['port']}{prefix}"
                node_id = name.removeprefix(_REPLICA).replace("#", ".")
                records.append(NodeRecord(node_id=node_id, url=url, engine="vllm", **node))
    return records

"""The nodes that there are: those of the configuration, those that Ray tells of, those enrolled."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping

import msgspec

from gateway.config import NodeConfig
from gateway.drain_store import Drains, DrainStore
from gateway.pools.config import RayConfig
from router.registry import Registry
from router.types import NodeRecord, NodeState
from serving.pool_state import PoolState
from serving.ray_dashboard import RayDashboard, RayUnavailableError
from serving.ray_discovery import RayDiscovery

log = logging.getLogger("tollgate")

STATIC, RAY, ENROLLED = "static", "ray", "enrolled"

Changed = Callable[[Mapping[str, NodeRecord]], None]
Seen = Callable[[list[PoolState]], None]


class NodeList:
    """Keeps a registry; each of `changed` hears what it holds when that is not what it was."""

    def __init__(self, registry: Registry, drains: DrainStore, *changed: Changed) -> None:
        self._registry = registry
        self._drains = drains
        self._changed = changed
        self._listed: dict[str, list[NodeRecord]] = {}
        self._drained = Drains()

    def take(self, nodes: tuple[NodeConfig, ...]) -> None:
        self._update(STATIC, [node.record() for node in nodes])

    def take_enrolled(self, records: list[NodeRecord]) -> None:
        self._update(ENROLLED, records)

    async def follow(self, ray: RayConfig, pools_seen: Seen) -> None:
        """Follow Ray's list of replicas, and the pools that they are of. While it cannot be read,
        the last one stands: replicas serve on, and those that do not are ejected by the router.
        """
        discovery = RayDiscovery(RayDashboard(ray.dashboard_url, ray.token_path))
        while True:
            try:
                found = await discovery.poll()
                self._update(RAY, found.records)
                pools_seen(found.pools)
            except RayUnavailableError as error:
                log.warning("Ray cannot be asked for its replicas: %s", error)
            await asyncio.sleep(ray.poll_interval_ms / 1000)

    async def look_for_drained(self) -> Drains:
        """Nodes that the operator drains get nothing more, whatever their source says of them.
        Raises LedgerError.
        """
        drained = await asyncio.to_thread(self._drains.load)
        if drained != self._drained:
            self._drained = drained
            for source, records in self._listed.items():
                self._update(source, records)
        return drained

    def drains_model(self, model: str) -> bool:
        """All of its nodes, those to come too."""
        return model in self._drained.models

    def _update(self, source: str, records: list[NodeRecord]) -> None:
        self._listed[source] = records
        if self._drained.nodes or self._drained.models:
            records = [self._as_drained(record) for record in records]
        if self._registry.update(source, records):
            log.info("nodes from %s: %d", source, len(records))
            for changed in self._changed:
                changed(self._registry.nodes)

    def _as_drained(self, record: NodeRecord) -> NodeRecord:
        drained = self._drained
        if record.node_id not in drained.nodes and record.model not in drained.models:
            return record
        return msgspec.structs.replace(record, state=NodeState.DRAINING)

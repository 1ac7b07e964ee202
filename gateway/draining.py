"""A running gateway drains nodes and models: what the console and the admin API both call."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from gateway import errors
from gateway.admission.catalogue import Catalogue
from gateway.drain_store import DrainKind, Drains, DrainStore
from gateway.node_list import NodeList


class Draining:
    def __init__(
        self,
        store: DrainStore,
        nodes: NodeList,
        catalogue: Catalogue,
        listed: Callable[[], set[str]],
    ) -> None:
        """`listed` tells the ids of all nodes that there are."""
        self.store = store
        self._nodes = nodes
        self._catalogue = catalogue
        self._listed = listed

    async def drain(self, kind: DrainKind, name: str) -> Drains:
        """Raises ApiError (404) and LedgerError."""
        if kind is DrainKind.NODE and name not in self._listed():
            raise errors.not_found(f"No source lists a node '{name[:100]}'.")
        if kind is DrainKind.MODEL and self._catalogue.get(name) is None:
            raise errors.unknown_model(name)
        await asyncio.to_thread(self.store.drain, kind, name, time.time_ns())
        return await self._nodes.look_for_drained()

    async def end(self, kind: DrainKind, name: str) -> Drains:
        """What is not drained stays so. Raises LedgerError."""
        await asyncio.to_thread(self.store.end, kind, name)
        return await self._nodes.look_for_drained()

"""Follows who is enrolled: the nodes whose lease is good, and what it takes to call them."""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import Callable, Collection, MutableMapping
from pathlib import Path

import msgspec

from gateway.enrolment.enrolment import Enrolment
from gateway.enrolment.node import Node
from metering.ledger import LedgerError
from router.types import NodeRecord
from serving.enrolment.key_files import certificate
from serving.enrolment.tls import to_node

log = logging.getLogger("tollgate")

POLL_S = 0.5
SHOWN_AGAIN_S = 20
REFUSALS_S = 10
"""Between two writings of what was refused: anybody can be refused as often as he likes."""

Take = Callable[[list[NodeRecord]], None]


class Roll:
    """`doors` gets the TLS of each node with a certificate, `reopen` hears whose changed."""

    def __init__(
        self,
        enrolment: Enrolment,
        *,
        identity: Path,
        writer: str,
        models: Collection[str],
        doors: MutableMapping[str, ssl.SSLContext],
        reopen: Callable[[str], None],
    ) -> None:
        self._enrolment = enrolment
        self._identity = identity
        self._writer = writer
        self._models = models
        self._doors = doors
        self._reopen = reopen
        self._trusted: dict[str, str] = {}
        self._refused: set[str] = set()
        self._recorded_s = -float(REFUSALS_S)

    async def follow(self, take: Take) -> None:
        """While the database is away the last list stands: nodes serve on, and those that do not
        are ejected by the router.
        """
        shown = await asyncio.to_thread(certificate, self._identity, "tollgate gateway")
        shown_s = -float(SHOWN_AGAIN_S)
        while True:
            try:
                if time.monotonic() - shown_s >= SHOWN_AGAIN_S:
                    await asyncio.to_thread(self._show, shown)
                    shown_s = time.monotonic()
                nodes = await asyncio.to_thread(self._look)
            except (LedgerError, msgspec.ValidationError) as error:  # or a newer gateway wrote it
                log.warning("enrolled nodes cannot be read: %s", error)
            else:
                take([record for node in nodes if (record := self._door(node)) is not None])
            await asyncio.sleep(POLL_S)

    def _show(self, shown: str) -> None:
        self._enrolment.store.show_certificate(self._writer, shown, time.time_ns())

    def _look(self) -> list[Node]:
        store = self._enrolment.store
        if time.monotonic() - self._recorded_s >= REFUSALS_S and (
            refused := self._enrolment.refusals.take(time.time_ns())
        ):
            store.record(refused)
            self._recorded_s = time.monotonic()
        return store.live(time.time_ns())

    def _door(self, node: Node) -> NodeRecord | None:
        assert node.lease is not None, "a node without a lease is not live"
        said = node.lease
        problem = ""
        if said.model not in self._models:
            problem = f"it serves '{said.model}', which is no [[model]]"
        elif said.certificate and said.certificate != self._trusted.get(node.node_id, ""):
            try:
                self._doors[node.node_id] = to_node(said.certificate, self._identity)
            except (ssl.SSLError, ValueError) as error:
                problem = f"its certificate is none: {error}"
            else:
                self._trusted[node.node_id] = said.certificate
                self._reopen(node.node_id)
        if not problem:
            self._refused.discard(node.node_id)
            return node.record()
        if node.node_id not in self._refused:
            self._refused.add(node.node_id)
            log.warning("enrolled node %s gets no requests: %s", node.node_id, problem)
        return None

"""Counts how long enrolled nodes serve: what they are paid for being there rests on it.

One gateway at a time asks every node of a GPU class a question now and then. The time between two
checks counts if the node passed both and the gateway held the lease all the while, by its own
monotonic clock: so no two gateways count one moment, and no wall clock is asked.
"""

from __future__ import annotations

import asyncio
import logging
import random
import ssl
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor

from gateway.enrolment import node_check
from gateway.enrolment.node import Node
from gateway.enrolment.node_check import NotServingError
from gateway.enrolment.node_store import NodeStore
from gateway.openai.request import Endpoint
from metering.database import Database
from metering.gpu_time_store import GpuTime, GpuTimeStore
from metering.lease import Lease, LeaseLostError
from metering.ledger import LedgerError
from router.types import NodeView

log = logging.getLogger("tollgate")

LEASE = "attendance"
LEASE_S = 180
"""Longer than a round in which many nodes hang."""
ROUND_S = 30.0
"""On average: nobody can be there at the checks alone."""
AT_ONCE = 32
_SECOND_NS = 10**9

Kinds = Mapping[str, tuple[Endpoint, ...]]


class Attendance:
    """`doors` has the TLS of each node with a certificate, `models` what each can be asked, `views`
    what the router thinks of each.
    """

    def __init__(
        self,
        store: NodeStore,
        times: GpuTimeStore,
        database: Database,
        *,
        writer: str,
        models: Kinds,
        doors: Mapping[str, ssl.SSLContext],
        views: Callable[[], Iterable[NodeView]],
    ) -> None:
        self._store = store
        self._times = times
        self._writer = writer
        self._models = models
        self._doors = doors
        self._views = views
        self._lease = Lease(
            database,
            LEASE,
            writer,
            lease_s=LEASE_S,
            monotonic_ns=time.monotonic_ns,
            wall_ns=time.time_ns,
        )
        self._passed_ns: dict[str, int] = {}
        """By node, when it last passed."""
        self._owed_ns: dict[tuple[str, str], int] = {}
        """By supplier and class, counted and not in a batch yet."""
        self._batch: tuple[int, list[GpuTime]] | None = None
        """Under way to the database: the same until it is there."""
        self._failing: set[str] = set()

    async def run(self) -> None:
        """For the gateway's lifetime."""
        chance = random.Random()
        try:
            while True:
                try:
                    barred = {view.node.node_id for view in self._views() if not view.standing}
                    await asyncio.to_thread(self.round, barred)
                except LedgerError as error:
                    log.warning("GPU time is counted on when the ledger answers: %s", error)
                await asyncio.sleep(ROUND_S * chance.uniform(0.5, 1.5))
        finally:
            await self._leave()

    def round(self, barred: Collection[str] = ()) -> None:
        """Check every node once and write what that makes. Blocks. Raises LedgerError.

        `barred` are the nodes whose reputation gets them no customers: it gets them no pay either.
        """
        if not self._lease.held:
            self._passed_ns.clear()
        if not self._lease.stand():
            return
        nodes = [
            node
            for node in self._store.live(time.time_ns())
            if node.node_id not in barred and self._is_counted(node)
        ]
        with ThreadPoolExecutor(AT_ONCE, "attendance") as pool:
            passed = list(pool.map(self._passes, nodes))
        here = set()
        for node, passed_ns in zip(nodes, passed, strict=True):
            if passed_ns is not None:
                self._count(node, passed_ns)
                here.add(node.node_id)
        self._passed_ns = {name: at for name, at in self._passed_ns.items() if name in here}
        self._write()

    def _is_counted(self, node: Node) -> bool:
        return bool(node.terms.gpu) and node.lease is not None and node.lease.model in self._models

    def _passes(self, node: Node) -> int | None:
        """When it did, by the monotonic clock; None: it did not, or another gateway may count."""
        record = node.record()
        try:
            node_check.check(record, self._models[record.model], self._doors.get(node.node_id))
        except NotServingError as error:
            if node.node_id not in self._failing:
                self._failing.add(node.node_id)
                log.warning("node %s earns nothing for its time: %s", node.node_id, error)
            return None
        self._failing.discard(node.node_id)
        return time.monotonic_ns() if self._lease.held else None

    def _count(self, node: Node, passed_ns: int) -> None:
        before_ns = self._passed_ns.get(node.node_id, passed_ns)
        terms = node.terms
        whose = (terms.supplier_id, terms.gpu)
        counted_ns = (passed_ns - before_ns) * terms.gpus
        self._owed_ns[whose] = self._owed_ns.get(whose, 0) + counted_ns
        self._passed_ns[node.node_id] = passed_ns

    def _write(self) -> None:
        """Whole seconds; the rest goes with the next."""
        if self._batch is not None:
            self._add(*self._batch)
        rows = [
            GpuTime(supplier_id=supplier_id, gpu_class=gpu_class, gpu_s=owed_ns // _SECOND_NS)
            for (supplier_id, gpu_class), owed_ns in sorted(self._owed_ns.items())
            if owed_ns >= _SECOND_NS
        ]
        if not rows:
            return
        number = self._times.next_batch(self._writer)
        for row in rows:
            self._owed_ns[row.supplier_id, row.gpu_class] -= row.gpu_s * _SECOND_NS
        self._batch = (number, rows)
        self._add(number, rows)

    def _add(self, number: int, rows: list[GpuTime]) -> None:
        """Under the lease: whoever was away so long that another counts since then adds nothing."""
        try:
            self._times.add(self._writer, number, rows, lease=LEASE)
        except LeaseLostError as error:
            log.warning("GPU time of the last checks is not counted: %s", error)
        self._batch = None

    async def _leave(self) -> None:
        try:
            await asyncio.to_thread(self._lease.leave)
        except LedgerError as error:
            log.warning("another gateway counts GPU time once this one's lease is over: %s", error)

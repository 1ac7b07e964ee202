"""All checks of what nodes claim, as one thing to start and stop. docs/honesty.md explains them."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Collection

from gateway.admission.catalogue import Catalogue
from gateway.honesty.config import HonestyConfig
from gateway.honesty.counter_check import CounterCheck
from gateway.honesty.findings import Findings
from gateway.honesty.recounts import Recounts
from gateway.telemetry.telemetry import Telemetry
from metering.finding_store import FindingStore
from metering.ledger import LedgerError
from metering.reconcile import Comparison, Verdict
from router.router import Router
from router.types import NodeRecord

log = logging.getLogger("tollgate")

_NS = 1_000_000_000


class Honesty:
    """`sample` and `ended` are the way of every request; `run` does the rest beside it."""

    def __init__(
        self,
        config: HonestyConfig,
        *,
        catalogue: Catalogue,
        router: Router,
        telemetry: Telemetry,
        findings: FindingStore,
        counters: CounterCheck | None,
        nodes: Callable[[], Collection[NodeRecord]],
    ) -> None:
        """`counters` None: another worker compares them."""
        self._findings = Findings(findings, router, telemetry.found)
        self._recounts = Recounts(
            one_in=config.recount_one_in,
            catalogue=catalogue,
            findings=self._findings,
            router=router,
            count=telemetry.checked,
            rng=random.Random(),
        )
        self._counters = counters
        self._interval_s = config.counters_interval_s
        self._nodes = nodes
        self.sample = self._recounts.sample
        self.ended = self._recounts.ended
        self.forget = self._recounts.forget

    async def run(self) -> None:
        """For the gateway's lifetime."""
        async with asyncio.TaskGroup() as tasks:
            kept = [tasks.create_task(self._recounts.run())]
            if self._counters is not None and self._interval_s:
                kept.append(tasks.create_task(self._compare(self._counters)))

    def close(self) -> None:
        """What was found last is written, while there is a ledger."""
        self._findings.write_now()

    async def _compare(self, counters: CounterCheck) -> None:
        """The first time at once, so that there is something to compare the next reading with."""
        half_ns = self._interval_s * _NS // 2
        while True:
            nodes = list(self._nodes())
            try:
                for found in await asyncio.to_thread(counters.run, nodes, older_than_ns=half_ns):
                    self._hear(found)
            except LedgerError as error:
                log.warning("nodes' counters cannot be held against the ledger: %s", error)
            await self._findings.write()
            await asyncio.sleep(self._interval_s)

    def _hear(self, found: Comparison) -> None:
        if found.finding is not None:
            self._findings.take(found.finding)
        elif found.verdict is Verdict.UNREAD:
            log.info("the counters of node %s cannot be read: %s", found.node_id, found.problem)
        elif found.verdict is Verdict.RESTARTED:
            log.info("node %s has restarted: its counters begin anew", found.node_id)

"""Every node's counters against the ledger, from one reading of them to the next."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

from gateway.honesty.node_counters import CountersUnreadError, NodeCounters
from metering.reading_store import ReadingStore
from metering.reconcile import Comparison, NodeSum, Reading, compare, span_ns, unread
from router.types import NodeRecord

READ_AT_ONCE = 8


class CounterCheck:
    """Blocks. `last_seq` is the ledger's end."""

    def __init__(
        self,
        readings: ReadingStore,
        counters: NodeCounters,
        last_seq: Callable[[], int],
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._readings = readings
        self._counters = counters
        self._last_seq = last_seq
        self._clock_ns = clock_ns

    def run(self, nodes: Iterable[NodeRecord], *, older_than_ns: int = 0) -> list[Comparison]:
        """Read and compare each node whose last reading is older than this. Raises LedgerError."""
        with ThreadPoolExecutor(READ_AT_ONCE, "counters") as pool:
            found = pool.map(lambda node: self._check(node, older_than_ns), nodes)
            return [comparison for comparison in found if comparison is not None]

    def _check(self, node: NodeRecord, older_than_ns: int) -> Comparison | None:
        before = self._readings.last(node.node_id)
        if before is not None and self._clock_ns() - before.read_ns < older_than_ns:
            return None  # another gateway has just done it
        ledger_seq = self._last_seq()
        read_ns = self._clock_ns()
        try:
            counters = self._counters.read(node)
        except CountersUnreadError as error:
            return unread(node.node_id, node.supplier_id, node.model, str(error))
        after = Reading(
            node_id=node.node_id,
            supplier_id=node.supplier_id,
            model=node.model,
            read_ns=read_ns,
            done_ns=self._clock_ns(),
            epoch=counters.epoch,
            prompt_tokens=counters.prompt_tokens,
            completion_tokens=counters.completion_tokens,
            ledger_seq=ledger_seq,
        )
        of_ledger = NodeSum()
        if before is not None:
            span = span_ns(before, after)
            of_ledger = self._readings.sum_of(node.node_id, before.ledger_seq, *span)
        self._readings.add(after)
        return compare(before, after, of_ledger)

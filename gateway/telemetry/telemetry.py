"""What Prometheus sees: of this process, and through it of all that serve on the same port."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import generate_latest
from prometheus_client.gc_collector import GCCollector
from prometheus_client.metrics_core import Metric
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from gateway.admission.till import Till
from gateway.errors import ApiError
from gateway.exchange.exchange import Exchange
from gateway.scorecard.card import Cards
from gateway.scorecard.card import total as total_cards
from gateway.scorecard.scores import Scores
from gateway.scorecard.series import series
from gateway.telemetry.counts import (
    DURATION_BOUNDS_NS,
    ITL_BOUNDS_NS,
    TTFT_BOUNDS_NS,
    Counts,
    Ended,
    NodeKey,
    Refused,
    Seen,
)
from gateway.telemetry.report_files import ReportFiles, encode
from gateway.telemetry.reports import Report, as_one, family_of
from metering.prices import cost_nano_usd
from router.router import Router
from router.types import Condition

log = logging.getLogger("tollgate")

PUBLISH_INTERVAL_S = 1.0


class Telemetry:
    """Counts what ended; gauges are read from their owners when Prometheus asks."""

    def __init__(
        self,
        router: Router,
        till: Till,
        open_exchanges: Callable[[], int],
        files: ReportFiles | None = None,
    ) -> None:
        """`files` connects it to the other workers, if there are any."""
        self._files = files
        self._counts = Counts() if files is None else files.former_counts()
        self.scores = Scores({} if files is None else files.former_cards(), time.monotonic_ns)
        self._gauges = CollectorRegistry()
        ProcessCollector(registry=self._gauges)
        PlatformCollector(registry=self._gauges)
        GCCollector(registry=self._gauges)
        self._gauges.register(_Gauges(router, till, open_exchanges))
        self._publishing = asyncio.Lock()

    async def exposition(self) -> bytes:
        """Prometheus's text, of all workers: this one as it is now, the others within a second."""
        return generate_latest(_Scrape(await self._reports()))

    async def cards(self) -> Cards:
        """The scorecard's, of all workers."""
        return total_cards(report.cards for report in await self._reports())

    async def _reports(self) -> list[Report]:
        if self._files is None:
            return [self._report(None)]
        # What is told was written before: a successor of this worker never says less.
        await self.publish()
        return await asyncio.to_thread(self._files.read)

    async def publish(self) -> None:
        """Let the other workers know, if there are any."""
        if self._files is None:
            return
        async with self._publishing:
            encoded = encode(self._report(self._files))
            try:
                await asyncio.to_thread(self._files.write, encoded)
            except OSError as error:
                log.warning("other workers cannot tell this one's metrics: %s", error)

    async def keep_published(self) -> None:
        """Runs for the gateway's lifetime, where there are other workers."""
        while self._files is not None:
            await self.publish()
            await asyncio.sleep(PUBLISH_INTERVAL_S)

    def _report(self, files: ReportFiles | None) -> Report:
        return Report(
            run=files.run if files else "",
            worker=files.worker if files else None,
            pid=os.getpid(),
            counts=self._counts,
            gauges=[family_of(metric) for metric in self._gauges.collect()],
            cards=self.scores.cards,
        )

    def refused(self, endpoint: str, error: ApiError) -> None:
        self.scores.refused(error)
        key = (endpoint, str(error.status), error.code or "none")
        refused = self._counts.refused.get(key)
        if refused is None:
            refused = self._counts.refused[key] = Refused(since_ns=time.time_ns())
        refused.requests += 1

    def checked(self, node_id: str, result: str) -> None:
        """An answer of a node was counted again, or was to be."""
        _see(self._counts.checked, (node_id, result))

    def found(self, node_id: str, kind: str) -> None:
        """A node claimed more than it can have done."""
        _see(self._counts.findings, (node_id, kind))

    def finished(self, exchange: Exchange) -> None:
        """An exchange ended; called once for each. 4 us of every request: keep it at that."""
        now_ns = time.monotonic_ns()
        self.scores.ended(exchange, now_ns)
        question = exchange.question
        assert exchange.outcome is not None
        key = (question.endpoint, question.model, exchange.outcome)
        ended = self._counts.ended.get(key)
        if ended is None:
            ended = self._counts.ended[key] = Ended(since_ns=time.time_ns())
        ended.requests += 1
        ended.failovers += exchange.attempts - 1
        ended.resumes += exchange.resumes
        duration_ns = now_ns - exchange.started_ns
        ended.duration_ns += duration_ns
        ended.duration_counts[bisect_left(DURATION_BOUNDS_NS, duration_ns)] += 1
        usage = exchange.usage
        if usage is None:
            return
        ended.charged += 1
        ended.prompt_tokens += usage.prompt_tokens
        ended.cached_tokens += usage.cached_tokens
        ended.completion_tokens += usage.completion_tokens
        ended.cost_nano_usd += cost_nano_usd(exchange.charge.price, usage)
        attempt = exchange.attempt
        if question.stream and attempt.first_byte_ns is not None:
            ttft_ns = exchange.ttft_ns
            assert ttft_ns is not None, "what goes on with a stream answers after its beginning"
            ended.ttft_ns += ttft_ns
            ended.ttft_counts[bisect_left(TTFT_BOUNDS_NS, ttft_ns)] += 1
            if exchange.resumes:
                return  # its tokens are of several nodes, and there was a gap
            gaps = usage.completion_tokens - question.choices
            if gaps > 0:
                itl_ns = attempt.streaming_ns * question.choices // gaps
                ended.itl_ns += itl_ns
                ended.itl_counts[bisect_left(ITL_BOUNDS_NS, itl_ns)] += 1


def _see(counts: dict[NodeKey, Seen], key: NodeKey) -> None:
    seen = counts.get(key)
    if seen is None:
        seen = counts[key] = Seen(since_ns=time.time_ns())
    seen.times += 1


class _Scrape(Collector):
    def __init__(self, reports: list[Report]) -> None:
        self._reports = reports

    def collect(self) -> Iterator[Metric]:
        yield from as_one(self._reports)
        cards = total_cards(report.cards for report in self._reports)
        yield from series(cards, time.monotonic_ns())


class _Gauges(Collector):
    """Read at scrape time."""

    def __init__(self, router: Router, till: Till, open_exchanges: Callable[[], int]) -> None:
        self._router = router
        self._till = till
        self._open_exchanges = open_exchanges

    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily(
            "tollgate_requests_in_flight", "Exchanges under way", value=self._open_exchanges()
        )
        yield from self._nodes()
        till = self._till
        yield GaugeMetricFamily(
            "tollgate_spool_backlog_rows",
            "Rows in the spool that are not in the ledger yet",
            value=till.backlog_rows,
        )
        yield GaugeMetricFamily(
            "tollgate_spool_rows_max",
            "The backlog at which new requests get 429, so that the ledger is never further behind",
            value=till.rows_max,
        )
        yield GaugeMetricFamily(
            "tollgate_posting",
            "1 while the ledger takes what the spool holds; 0 means that a person must look",
            value=int(till.posting),
        )
        yield GaugeMetricFamily(
            "tollgate_ledger_lag_seconds",
            "Age of the oldest spool row that is not in the ledger yet",
            value=till.lag_seconds,
        )
        yield GaugeMetricFamily(
            "tollgate_recording",
            "1 while charges can be made durable; 0 means that nothing is served",
            value=int(till.recording),
        )

    def _nodes(self) -> Iterator[Metric]:
        labels = ["node", "supplier", "model"]
        state = GaugeMetricFamily(
            "tollgate_node_state", "1 for the state a node is in", labels=[*labels, "state"]
        )
        in_flight = GaugeMetricFamily(
            "tollgate_node_in_flight", "Requests this gateway has on a node", labels=labels
        )
        now_ns = time.monotonic_ns()
        for view in self._router.nodes(now_ns):
            node = view.node
            of_node = [node.node_id, node.supplier_id, node.model]
            current = view.condition(now_ns)
            for condition in Condition:
                state.add_metric([*of_node, condition.value], int(condition is current))
            in_flight.add_metric(of_node, view.in_flight)
        yield state
        yield in_flight

"""What Prometheus sees: of this process, and through it of all that serve on the same port."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.gc_collector import GCCollector
from prometheus_client.metrics_core import Metric
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from gateway.errors import ApiError
from gateway.exchange.exchange import Exchange
from gateway.scorecard.card import Cards
from gateway.scorecard.card import total as total_cards
from gateway.scorecard.scores import Scores
from gateway.telemetry.counts import (
    DURATION_BOUNDS_NS,
    ITL_BOUNDS_NS,
    TTFT_BOUNDS_NS,
    Counts,
    Ended,
    Served,
)
from gateway.telemetry.definition import Definition
from gateway.telemetry.gauges import Gauges, Tills
from gateway.telemetry.node_metrics import (
    CANARIES,
    CANARY_GAPS,
    FINDINGS,
    GAPS_NATS,
    NODE_GIVEN_UP,
    RECOUNTS,
)
from gateway.telemetry.report_files import ReportFiles, encode
from gateway.telemetry.reports import Report, as_one, family_of
from gateway.telemetry.scorecard_series import series
from gateway.telemetry.traffic_metrics import HEDGES, REFUSALS, RESUMES
from metering.prices import cost_nano_usd
from router.router import Router
from router.types import Termination

log = logging.getLogger("tollgate")

PUBLISH_INTERVAL_S = 1.0


class Telemetry:
    """Counts what ended; gauges are read from their owners when Prometheus asks."""

    def __init__(
        self,
        router: Router,
        till: Tills,
        open_exchanges: Callable[[], int],
        files: ReportFiles | None = None,
        *,
        draining: Callable[[], bool] = lambda: False,
        more: Collector | None = None,
        also_refused: Callable[[str, ApiError], None] | None = None,
    ) -> None:
        """`files` connects it to the other workers, if there are any; `more` are gauges that are
        not of requests, such as those of the ledger; `also_refused` hears of refusals, too.
        """
        self._also_refused = also_refused
        self._files = files
        self._counts = Counts() if files is None else files.former_counts()
        self.scores = Scores({} if files is None else files.former_cards(), time.monotonic_ns)
        self._gauges = CollectorRegistry()
        ProcessCollector(registry=self._gauges)
        PlatformCollector(registry=self._gauges)
        GCCollector(registry=self._gauges)
        self._gauges.register(Gauges(router, till, open_exchanges, draining))
        if more is not None:
            self._gauges.register(more)
        self._publishing = asyncio.Lock()

    async def exposition(self) -> bytes:
        """Prometheus's text, of all workers: this one as it is now, the others within a second."""
        return generate_latest(_Scrape(await self.reports()))

    async def cards(self) -> Cards:
        """The scorecard's, of all workers."""
        return total_cards(report.cards for report in await self.reports())

    async def reports(self) -> list[Report]:
        """Of all workers: this one as it is now, the others within a second."""
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

    @property
    def counts(self) -> Counts:
        """Of this process, with those of workers whose place it took."""
        return self._counts

    def _report(self, files: ReportFiles | None) -> Report:
        return Report(
            run=files.run if files else "",
            worker=files.worker if files else None,
            pid=os.getpid(),
            counts=self._counts,
            gauges=[family_of(metric) for metric in self._gauges.collect()],
            cards=self.scores.cards,
        )

    def count(self, metric: Definition, *labels: str) -> None:
        """One event of a counter of `exposition.EVENTS`, with the values of its labels."""
        self._counts.see(metric.name, labels, time.time_ns())

    def refused(self, endpoint: str, error: ApiError) -> None:
        self.scores.refused(error)
        code, model = error.code or "none", error.model or "none"
        self.count(REFUSALS, endpoint, str(error.status), code, model)
        if self._also_refused is not None:
            self._also_refused(endpoint, error)

    def checked(self, node_id: str, result: str) -> None:
        """An answer of a node was counted again, or was to be."""
        self.count(RECOUNTS, node_id, result)

    def found(self, node_id: str, kind: str) -> None:
        """A node claimed more than it can have done."""
        self.count(FINDINGS, node_id, kind)

    def canary(self, node_id: str, result: str) -> None:
        """A node was asked what others were asked too."""
        self.count(CANARIES, node_id, result)

    def canary_gap(self, node_id: str, nats: float) -> None:
        """How far the logprobs of its answer were from the right ones, in the mean."""
        within = next((bound for bound in GAPS_NATS if nats <= float(bound)), "more")
        self.count(CANARY_GAPS, node_id, within)

    def finished(self, exchange: Exchange) -> None:
        """An exchange ended; called once for each. 5 us of every request: keep it at that."""
        now_ns = time.monotonic_ns()
        self.scores.ended(exchange, now_ns)
        question, attempt, outcome = exchange.question, exchange.attempt, exchange.outcome
        assert outcome is not None
        key_class = "direct"
        if question.batch:
            key_class = "batch"
        elif question.usage_always:
            key_class = "aggregator"
        counts, node = self._counts, attempt.node
        key = (question.endpoint, question.model, outcome, key_class)
        ended = counts.ended.get(key)
        if ended is None:
            ended = counts.ended[key] = Ended(since_ns=time.time_ns())
        node_key = (node.node_id, node.supplier_id, node.model)
        served = counts.served.get(node_key)
        if served is None:
            served = counts.new_served(node_key, time.time_ns())
        ended.requests += 1
        if exchange.attempts > 1:
            self._failed_over(exchange, ended)
        duration_ns = now_ns - exchange.started_ns
        ended.duration_ns += duration_ns
        ended.duration_counts[bisect_left(DURATION_BOUNDS_NS, duration_ns)] += 1
        served.end(outcome)
        usage = exchange.usage
        if usage is None:
            return
        cost = cost_nano_usd(exchange.charge.price, usage)
        prompt, cached = usage.prompt_tokens, usage.cached_tokens
        completion = usage.completion_tokens
        ended.prompt_tokens += prompt
        ended.cached_tokens += cached
        ended.completion_tokens += completion
        ended.cost_nano_usd += cost
        served.prompt_tokens += prompt
        served.cached_tokens += cached
        served.completion_tokens += completion
        served.cost_nano_usd += cost
        ended.charged += 1
        if exchange.legs:
            self._divided(exchange, served)
        if question.stream and attempt.first_byte_ns is not None:
            gaps = 0  # of a stream with a seam none is like another
            if not exchange.resumes:
                gaps = usage.completion_tokens - question.choices
            streaming_ns = attempt.streaming_ns * question.choices
            _streamed(ended, served, exchange, streaming_ns // gaps if gaps > 0 else None)

    def _failed_over(self, exchange: Exchange, ended: Ended) -> None:
        failovers = exchange.attempts - 1 - exchange.hedges
        ended.failovers += failovers
        for lost in exchange.lost:
            failed = lost.termination is not Termination.CLIENT_GONE
            if failed and lost.attempt is not exchange.attempt:
                self.count(NODE_GIVEN_UP, lost.attempt.node.node_id)
        if exchange.resumes:
            self.count(RESUMES, exchange.question.model)
        if exchange.hedges:
            won = exchange.attempt.node.node_id != exchange.first.node_id
            self.count(HEDGES, exchange.question.model, "won" if won else "lost")

    def _divided(self, exchange: Exchange, last: Served) -> None:
        """What others delivered before the last node is theirs, as in the charge."""
        price, model = exchange.charge.price, exchange.attempt.node.model
        for number, leg in enumerate(exchange.legs):
            usage, cost = leg.usage, cost_nano_usd(price, leg.usage)
            if number:
                cost -= price.request_nano_usd
            key = (leg.node_id, leg.supplier_id, model)
            counts = self._counts
            served = counts.served.get(key) or counts.new_served(key, time.time_ns())
            for to, sign in ((served, 1), (last, -1)):
                to.prompt_tokens += sign * usage.prompt_tokens
                to.cached_tokens += sign * usage.cached_tokens
                to.completion_tokens += sign * usage.completion_tokens
                to.cost_nano_usd += sign * cost


def _streamed(ended: Ended, served: Served, exchange: Exchange, itl_ns: int | None) -> None:
    """`itl_ns` is None for an answer of one token."""
    ttft_ns = exchange.ttft_ns
    assert ttft_ns is not None, "the answer has begun"
    ended.ttft_ns += ttft_ns
    ended.ttft_counts[bisect_left(TTFT_BOUNDS_NS, ttft_ns)] += 1
    served.ttft_ns += ttft_ns
    served.ttft_count += 1
    if itl_ns is not None:
        ended.itl_ns += itl_ns
        ended.itl_counts[bisect_left(ITL_BOUNDS_NS, itl_ns)] += 1
        served.itl_ns += itl_ns
        served.itl_count += 1


class _Scrape(Collector):
    def __init__(self, reports: list[Report]) -> None:
        self._reports = reports

    def collect(self) -> Iterator[Metric]:
        yield from as_one(self._reports)
        cards = total_cards(report.cards for report in self._reports)
        yield from series(cards, time.monotonic_ns())

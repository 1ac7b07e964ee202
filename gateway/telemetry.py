"""What Prometheus sees. One registry per gateway, no globals.

Label sets are bounded: models and nodes come from configuration and discovery, outcomes and codes
from enumerations; nothing a client sends becomes a label.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import lru_cache

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.gc_collector import GCCollector
from prometheus_client.metrics_core import Metric
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from gateway.errors import ApiError
from gateway.exchange import Exchange
from gateway.till import Till
from metering.prices import cost_nano_usd
from router.router import Router
from router.types import Condition

_TTFT_BUCKETS_S = (0.005, 0.01, 0.02, 0.04, 0.08, 0.15, 0.3, 0.6, 1.2, 2.5, 5, 10, 20, 40, 80)
_ITL_BUCKETS_S = (0.001, 0.002, 0.004, 0.008, 0.015, 0.03, 0.06, 0.12, 0.25, 0.5, 1, 2)
_DURATION_BUCKETS_S = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000)
_NANO = 1_000_000_000


class Telemetry:
    """Counts what ended; gauges are read from their owners when Prometheus asks."""

    def __init__(self, router: Router, till: Till, open_exchanges: Callable[[], int]) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        self.registry.register(_Gauges(router, till, open_exchanges))
        self._requests = Counter(
            "tollgate_requests",
            "Inference requests that were admitted, by how they ended",
            ["endpoint", "model", "outcome"],
            registry=self.registry,
        )
        self._refusals = Counter(
            "tollgate_refusals",
            "Inference requests turned away before a node was dialled, by HTTP status and code",
            ["endpoint", "status", "code"],
            registry=self.registry,
        )
        self._ttft = Histogram(
            "tollgate_time_to_first_token_seconds",
            "From acceptance to the first byte of the answer, streams only",
            ["model"],
            buckets=_TTFT_BUCKETS_S,
            registry=self.registry,
        )
        self._itl = Histogram(
            "tollgate_inter_token_latency_seconds",
            "Mean time between tokens of a stream, one observation a stream",
            ["model"],
            buckets=_ITL_BUCKETS_S,
            registry=self.registry,
        )
        self._duration = Histogram(
            "tollgate_request_duration_seconds",
            "From acceptance to the last byte of the answer",
            ["model"],
            buckets=_DURATION_BUCKETS_S,
            registry=self.registry,
        )
        self._tokens = Counter(
            "tollgate_tokens",
            "Tokens charged; cached is the part of prompt that the node had in its prefix cache",
            ["model", "kind"],
            registry=self.registry,
        )
        self._cost = Counter(
            "tollgate_cost_usd",
            "Charged to customers, in USD",
            ["model"],
            registry=self.registry,
        )
        self._failovers = Counter(
            "tollgate_failovers",
            "Requests sent to another node before their first byte, because one failed",
            ["model"],
            registry=self.registry,
        )
        self._request_child = lru_cache(4096)(self._requests.labels)
        self._tokens_child = lru_cache(4096)(self._tokens.labels)

    def refused(self, endpoint: str, error: ApiError) -> None:
        self._refusals.labels(endpoint, str(error.status), error.code or "none").inc()

    def finished(self, exchange: Exchange) -> None:
        """An exchange ended; called once for each."""
        question, model = exchange.question, exchange.question.model
        assert exchange.outcome is not None
        now_ns = time.monotonic_ns()
        self._request_child(question.endpoint.value, model, exchange.outcome.value).inc()
        self._duration.labels(model).observe((now_ns - exchange.started_ns) / _NANO)
        if exchange.attempts > 1:
            self._failovers.labels(model).inc(exchange.attempts - 1)
        usage = exchange.usage
        if usage is None:
            return
        self._tokens_child(model, "prompt").inc(usage.prompt_tokens)
        self._tokens_child(model, "cached").inc(usage.cached_tokens)
        self._tokens_child(model, "completion").inc(usage.completion_tokens)
        self._cost.labels(model).inc(cost_nano_usd(exchange.charge.price, usage) / _NANO)
        if question.stream and exchange.ttft_ns is not None:
            self._ttft.labels(model).observe(exchange.ttft_ns / _NANO)
            gaps = usage.completion_tokens - question.choices
            if gaps > 0:
                itl_ns = exchange.attempt.streaming_ns * question.choices / gaps
                self._itl.labels(model).observe(itl_ns / _NANO)


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

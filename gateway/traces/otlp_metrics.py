"""Metrics to a collector, now and then: imported only where OTLP is switched on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics.export import Metric, MetricsData, ResourceMetrics, ScopeMetrics
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from gateway.telemetry.counts import Counts
from gateway.traces.measures import measures_of
from gateway.traces.otlp import TIMEOUT_S, resource_of

EXPORT_INTERVAL_S = 15.0


class OtlpMetrics:
    """Sends what `counts` are. What a collector that is away misses, the next sending has."""

    def __init__(self, url: str, instance: str, counts: Callable[[], Counts]) -> None:
        self._resource = resource_of(instance)
        self._exporter = OTLPMetricExporter(f"{url.rstrip('/')}/v1/metrics", timeout=TIMEOUT_S)
        self._counts = counts

    async def run(self) -> None:
        """Runs for the gateway's lifetime."""
        while True:
            await asyncio.sleep(EXPORT_INTERVAL_S)
            await self._send()

    async def close(self) -> None:
        """Sends the last ones."""
        await self._send()
        await asyncio.to_thread(self._exporter.shutdown)

    async def _send(self) -> None:
        measures = measures_of(self._counts(), time.time_ns())
        await asyncio.to_thread(self._export, [each for each in measures if each.data.data_points])

    def _export(self, measures: list[Metric]) -> None:
        scope = ScopeMetrics(
            scope=InstrumentationScope("tollgate"), metrics=measures, schema_url=""
        )
        told = ResourceMetrics(resource=self._resource, scope_metrics=[scope], schema_url="")
        self._exporter.export(MetricsData(resource_metrics=[told]))

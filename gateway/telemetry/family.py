"""Definitions as Prometheus's families with samples. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric, SummaryMetricFamily
from prometheus_client.samples import Sample

from gateway.telemetry.definition import Definition

NANO = 1_000_000_000

Counted = Iterable[tuple[Sequence[str], int, float]]
"""Label values, since when (wall clock, ns), how much."""
Observed = Iterable[tuple[Sequence[str], int, list[int], int]]
"""Label values, since when, observations by bucket, their sum in ns."""
Summed = Iterable[tuple[Sequence[str], int, int, int]]
"""Label values, since when, how many, their sum in ns."""


def gauge_family(metric: Definition, samples: Iterable[tuple[Sequence[str], float]]) -> Metric:
    family = GaugeMetricFamily(metric.name, metric.help, labels=metric.labels)
    for values, value in samples:
        family.add_metric(values, value)
    return family


def gauge_of(metric: Definition, value: float) -> Metric:
    """Of a gauge without labels."""
    return gauge_family(metric, [((), value)])


def counter_family(metric: Definition, counted: Counted) -> Metric:
    family = CounterMetricFamily(metric.name, metric.help, labels=metric.labels)
    for values, since_ns, value in counted:
        family.add_metric(values, value, created=since_ns / NANO)
    return family


def histogram_family(metric: Definition, bounds_ns: Sequence[int], observed: Observed) -> Metric:
    family = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
    bounds = [str(bound_ns / NANO) for bound_ns in bounds_ns] + ["+Inf"]
    for values, since_ns, counts, sum_ns in observed:
        if any(counts):
            buckets = list(zip(bounds, accumulate(counts), strict=True))
            family.add_metric(values, buckets, sum_ns / NANO)
            family.samples.append(_created(metric, values, since_ns))
    return family


def summary_family(metric: Definition, summed: Summed) -> Metric:
    family = SummaryMetricFamily(metric.name, metric.help, labels=metric.labels)
    for values, since_ns, count, sum_ns in summed:
        if count:
            family.add_metric(values, count, sum_ns / NANO)
            family.samples.append(_created(metric, values, since_ns))
    return family


def _created(metric: Definition, values: Sequence[str], since_ns: int) -> Sample:
    labels = dict(zip(metric.labels, values, strict=True))
    return Sample(f"{metric.name}_created", labels, since_ns / NANO)

"""Every metric there is, by the part of the gateway that it tells of; and docs/metrics.md. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.telemetry.book_metrics import BOOK_METRICS
from gateway.telemetry.definition import Definition, Kind, OverWorkers
from gateway.telemetry.epoch_metrics import EPOCH_METRICS
from gateway.telemetry.node_metrics import NODE_METRICS
from gateway.telemetry.process_metrics import PROCESS_METRICS
from gateway.telemetry.scorecard_metrics import SCORECARD_METRICS
from gateway.telemetry.traffic_metrics import TRAFFIC_METRICS

ALL_METRICS: dict[str, tuple[Definition, ...]] = {
    "Requests": TRAFFIC_METRICS,
    "Nodes and suppliers": NODE_METRICS,
    "Spool, ledger, customers": BOOK_METRICS,
    "Epochs and the price of IO": EPOCH_METRICS,
    "Provider scorecard": SCORECARD_METRICS,
    "Processes": PROCESS_METRICS,
}
GAUGES = {
    metric.name: metric
    for metrics in ALL_METRICS.values()
    for metric in metrics
    if metric.kind is Kind.GAUGE
}

_HEAD = """# Metrics

Everything that `/metrics` tells, made by `tollgate metrics` out of the code (a test fails when it
is stale). Names follow Prometheus: base units, `_total` for counters; a histogram appends
`_bucket`, `_sum` and `_count`, a summary the last two. A series is there from its first event on.

Label sets are bounded: models, endpoints, outcomes and codes are those of configuration and code,
no label comes from a request, and of each metric at most 1,000 nodes (of an epoch 100 suppliers)
are told by name, the rest together as `other`. `key_class` is `direct`, `aggregator` (keys that are
always told their usage) or `batch`.

Of several workers, "over workers" says how their gauges become one; counters, histograms and
summaries add up. Figures of ledger and epochs are read by the first worker every few seconds;
several gateways on one ledger tell the same ones, so queries take `max` of them and `sum` of all
else.
"""


def as_markdown() -> str:
    """docs/metrics.md."""
    return "\n".join([_HEAD, *_sections()])


def _sections() -> Iterator[str]:
    for title, metrics in ALL_METRICS.items():
        yield f"## {title}\n"
        yield "| metric | type | labels | unit | over workers | meaning |"
        yield "|---|---|---|---|---|---|"
        yield from (_row(metric) for metric in metrics)
        yield ""


def _row(metric: Definition) -> str:
    labels = ", ".join(f"`{label}`" for label in metric.labels)
    cells = (
        f"`{metric.exposed}`",
        metric.kind,
        labels,
        metric.unit_told,
        told_over_workers(metric),
        metric.help,
    )
    return "| " + " | ".join(cells) + " |"


def told_over_workers(metric: Definition) -> str:
    if metric.kind is not Kind.GAUGE:
        labelled = metric in PROCESS_METRICS
        return OverWorkers.LABEL if labelled else OverWorkers.SUM
    return metric.over_workers

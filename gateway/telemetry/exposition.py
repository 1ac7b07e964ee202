"""The counts as Prometheus's metric families. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client.metrics_core import Metric

from gateway.telemetry import node_metrics as node
from gateway.telemetry import traffic_metrics as traffic
from gateway.telemetry.counts import (
    DURATION_BOUNDS_NS,
    ITL_BOUNDS_NS,
    TTFT_BOUNDS_NS,
    ClassKey,
    Counts,
    Ended,
    NodeKey,
    Served,
)
from gateway.telemetry.definition import Definition
from gateway.telemetry.family import NANO, counter_family, histogram_family, summary_family

_TOKEN_KINDS: dict[str, Callable[[Ended | Served], int]] = {
    "prompt": lambda record: record.prompt_tokens,
    "cached": lambda record: record.cached_tokens,
    "completion": lambda record: record.completion_tokens,
}
_RESULTS: dict[str, Callable[[Served], int]] = {
    "ok": lambda served: served.ok,
    "client_gone": lambda served: served.client_gone,
    "refused": lambda served: served.refused,
    "failed": lambda served: served.failed,
}
EVENTS: tuple[Definition, ...] = (
    traffic.REFUSALS,
    traffic.RESUMES,
    traffic.HEDGES,
    node.NODE_GIVEN_UP,
    node.RECOUNTS,
    node.FINDINGS,
    node.CANARIES,
    node.CANARY_GAPS,
)
"""What `Telemetry.count` counts."""


def families(counts: Counts) -> Iterator[Metric]:
    """A series is there from its first event on, as if each had been counted by itself."""
    classes = counts.by_class()
    yield counter_family(
        traffic.REQUESTS,
        ((key, ended.since_ns, ended.requests) for key, ended in counts.ended.items()),
    )
    yield from _times(classes)
    charged = {key: ended for key, ended in classes.items() if ended.charged}
    yield counter_family(
        traffic.TOKENS,
        (
            ((model, kind, key_class), ended.since_ns, tokens(ended))
            for (model, key_class), ended in charged.items()
            for kind, tokens in _TOKEN_KINDS.items()
        ),
    )
    yield counter_family(
        traffic.COST,
        ((key, ended.since_ns, ended.cost_nano_usd / NANO) for key, ended in charged.items()),
    )
    yield counter_family(
        traffic.FAILOVERS,
        (
            ((model,), ended.since_ns, ended.failovers)
            for model, ended in counts.by_model().items()
            if ended.failovers
        ),
    )
    if counts.served:
        yield from _nodes(counts.served)
    for event in EVENTS:
        seen = {key: seen for key, seen in counts.events.items() if key[0] == event.name}
        if seen:
            yield counter_family(
                event, ((key[1:], each.since_ns, each.times) for key, each in seen.items())
            )


def _times(classes: dict[ClassKey, Ended]) -> Iterator[Metric]:
    yield histogram_family(
        traffic.TTFT,
        TTFT_BOUNDS_NS,
        ((key, e.since_ns, e.ttft_counts, e.ttft_ns) for key, e in classes.items()),
    )
    yield histogram_family(
        traffic.ITL,
        ITL_BOUNDS_NS,
        ((key, e.since_ns, e.itl_counts, e.itl_ns) for key, e in classes.items()),
    )
    yield histogram_family(
        traffic.DURATION,
        DURATION_BOUNDS_NS,
        ((key, e.since_ns, e.duration_counts, e.duration_ns) for key, e in classes.items()),
    )


def _nodes(nodes: dict[NodeKey, Served]) -> Iterator[Metric]:
    yield counter_family(
        node.NODE_REQUESTS,
        (
            ((*key, result), served.since_ns, times)
            for key, served in nodes.items()
            for result, of in _RESULTS.items()
            if (times := of(served))
        ),
    )
    yield counter_family(
        node.NODE_TOKENS,
        (
            ((*key, kind), served.since_ns, tokens(served))
            for key, served in nodes.items()
            for kind, tokens in _TOKEN_KINDS.items()
        ),
    )
    yield counter_family(
        node.NODE_COST,
        ((key, served.since_ns, served.cost_nano_usd / NANO) for key, served in nodes.items()),
    )
    yield summary_family(
        node.NODE_TTFT,
        ((key, s.since_ns, s.ttft_count, s.ttft_ns) for key, s in nodes.items()),
    )
    yield summary_family(
        node.NODE_ITL,
        ((key, s.since_ns, s.itl_count, s.itl_ns) for key, s in nodes.items()),
    )

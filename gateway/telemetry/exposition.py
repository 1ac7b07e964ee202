"""The counts as Prometheus's metric families: names, labels, help. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.samples import Sample

from gateway.telemetry.counts import (
    DURATION_BOUNDS_NS,
    ITL_BOUNDS_NS,
    TTFT_BOUNDS_NS,
    Counts,
    Ended,
    Refused,
    Seen,
)

_NANO = 1_000_000_000
_TOKEN_KINDS: dict[str, Callable[[Ended], int]] = {
    "prompt": lambda ended: ended.prompt_tokens,
    "cached": lambda ended: ended.cached_tokens,
    "completion": lambda ended: ended.completion_tokens,
}

Series = Iterable[tuple[Sequence[str], Ended | Refused | Seen, float]]
"""Label values, the record, and the value of the series."""


def families(counts: Counts) -> Iterator[Metric]:
    """A series is there from its first event on, as if each had been counted by itself."""
    models = counts.by_model()
    charged = {model: ended for model, ended in models.items() if ended.charged}
    yield _counter(
        "tollgate_requests",
        "Inference requests that were admitted, by how they ended",
        ("endpoint", "model", "outcome"),
        ((key, ended, ended.requests) for key, ended in counts.ended.items()),
    )
    yield _counter(
        "tollgate_refusals",
        "Inference requests turned away before a node was dialled, by HTTP status and code",
        ("endpoint", "status", "code"),
        ((key, refused, refused.requests) for key, refused in counts.refused.items()),
    )
    yield from _times(models)
    yield _counter(
        "tollgate_tokens",
        "Tokens charged; cached is the part of prompt that the node had in its prefix cache",
        ("model", "kind"),
        (
            ((model, kind), ended, tokens(ended))
            for model, ended in charged.items()
            for kind, tokens in _TOKEN_KINDS.items()
        ),
    )
    yield _counter(
        "tollgate_cost_usd",
        "Charged to customers, in USD",
        ("model",),
        (((model,), ended, ended.cost_nano_usd / _NANO) for model, ended in charged.items()),
    )
    yield _counter(
        "tollgate_failovers",
        "Requests sent to another node, because one failed",
        ("model",),
        (((model,), ended, ended.failovers) for model, ended in models.items() if ended.failovers),
    )
    yield _counter(
        "tollgate_resumes",
        "Streams that another node went on with, because one failed in them",
        ("model",),
        (((model,), ended, ended.resumes) for model, ended in models.items() if ended.resumes),
    )
    if counts.checked:
        yield _counter(
            "tollgate_recounts",
            "Answers counted again with the model's tokenizer, by what came of it",
            ("node", "result"),
            ((key, seen, seen.times) for key, seen in counts.checked.items()),
        )
    if counts.findings:
        yield _counter(
            "tollgate_findings",
            "Claims of nodes beyond what they can have done, by kind",
            ("node", "kind"),
            ((key, seen, seen.times) for key, seen in counts.findings.items()),
        )


def _times(models: dict[str, Ended]) -> Iterator[Metric]:
    yield _histogram(
        "tollgate_time_to_first_token_seconds",
        "From acceptance to the first byte of the answer, streams only",
        TTFT_BOUNDS_NS,
        ((model, ended, ended.ttft_counts, ended.ttft_ns) for model, ended in models.items()),
    )
    yield _histogram(
        "tollgate_inter_token_latency_seconds",
        "Mean time between tokens of a stream, one observation a stream",
        ITL_BOUNDS_NS,
        ((model, ended, ended.itl_counts, ended.itl_ns) for model, ended in models.items()),
    )
    yield _histogram(
        "tollgate_request_duration_seconds",
        "From acceptance to the last byte of the answer",
        DURATION_BOUNDS_NS,
        (
            (model, ended, ended.duration_counts, ended.duration_ns)
            for model, ended in models.items()
        ),
    )


def _counter(name: str, text: str, labels: Sequence[str], series: Series) -> Metric:
    family = CounterMetricFamily(name, text, labels=labels)
    for values, record, value in series:
        family.add_metric(values, value, created=record.since_ns / _NANO)
    return family


def _histogram(
    name: str,
    text: str,
    bounds_ns: Sequence[int],
    series: Iterable[tuple[str, Ended, list[int], int]],
) -> Metric:
    family = HistogramMetricFamily(name, text, labels=["model"])
    bounds = [str(bound_ns / _NANO) for bound_ns in bounds_ns] + ["+Inf"]
    for model, ended, counts, sum_ns in series:
        if any(counts):
            buckets = list(zip(bounds, accumulate(counts), strict=True))
            family.add_metric([model], buckets, sum_ns / _NANO)
            created = Sample(f"{name}_created", {"model": model}, ended.since_ns / _NANO)
            family.samples.append(created)
    return family

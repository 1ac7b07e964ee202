"""The counts of requests as metrics, in OpenTelemetry's names for generative AI.

All are histograms since the first request of their kind, made of the buckets that Prometheus gets;
tokens, whose requests are not told apart by size, have one bucket. Imported only where OTLP is on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import msgspec
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Histogram,
    HistogramDataPoint,
    Metric,
)

from gateway.openai.request import Endpoint
from gateway.telemetry.counts import (
    DURATION_BOUNDS_NS,
    ITL_BOUNDS_NS,
    TTFT_BOUNDS_NS,
    Counts,
    Ended,
    Key,
)
from gateway.traces.spans import OPERATIONS, WELL

_NANO = 1_000_000_000
Attributes = dict[str, str]


class _Seen(msgspec.Struct, frozen=True, kw_only=True):
    attributes: Attributes
    since_ns: int
    counts: list[int]
    sum: float


def measures_of(counts: Counts, now_ns: int) -> list[Metric]:
    """`now_ns` is wall clock."""
    ended = [(_attributes(key), each) for key, each in counts.ended.items()]
    return [
        _histogram(
            "gen_ai.server.request.duration",
            "From acceptance to the last byte of the answer",
            DURATION_BOUNDS_NS,
            (_timed(to, each, each.duration_counts, each.duration_ns) for to, each in ended),
            now_ns,
        ),
        _histogram(
            "gen_ai.server.time_to_first_token",
            "From acceptance to the first byte of the answer, streams only",
            TTFT_BOUNDS_NS,
            (_timed(to, each, each.ttft_counts, each.ttft_ns) for to, each in ended),
            now_ns,
        ),
        _histogram(
            "gen_ai.server.time_per_output_token",
            "Mean time between tokens of a stream, one observation a stream",
            ITL_BOUNDS_NS,
            (_timed(to, each, each.itl_counts, each.itl_ns) for to, each in ended),
            now_ns,
        ),
        _histogram(
            "gen_ai.client.token.usage", "Tokens charged", (), _tokens(ended), now_ns, "{token}"
        ),
    ]


def _attributes(key: Key) -> Attributes:
    endpoint, model, outcome, key_class = key
    told = {
        "gen_ai.operation.name": OPERATIONS[Endpoint(endpoint)],
        "gen_ai.provider.name": "tollgate",
        "gen_ai.request.model": model,
        "tollgate.key_class": key_class,
        "tollgate.outcome": str(outcome),
    }
    return told if outcome in WELL else told | {"error.type": str(outcome)}


def _timed(attributes: Attributes, ended: Ended, counts: list[int], sum_ns: int) -> _Seen:
    return _Seen(
        attributes=attributes, since_ns=ended.since_ns, counts=list(counts), sum=sum_ns / _NANO
    )


def _tokens(all_ended: Iterable[tuple[Attributes, Ended]]) -> Iterator[_Seen]:
    for attributes, ended in all_ended:
        for kind, tokens in (("input", ended.prompt_tokens), ("output", ended.completion_tokens)):
            yield _Seen(
                attributes=attributes | {"gen_ai.token.type": kind},
                since_ns=ended.since_ns,
                counts=[ended.charged],
                sum=tokens,
            )


def _histogram(
    name: str,
    description: str,
    bounds_ns: Sequence[int],
    all_seen: Iterable[_Seen],
    now_ns: int,
    unit: str = "s",
) -> Metric:
    points = [
        HistogramDataPoint(
            attributes=seen.attributes,
            start_time_unix_nano=seen.since_ns,
            time_unix_nano=now_ns,
            count=sum(seen.counts),
            sum=seen.sum,
            bucket_counts=seen.counts,
            explicit_bounds=[bound_ns / _NANO for bound_ns in bounds_ns],
            min=None,  # type: ignore[arg-type]  # not known, which OTLP can say and its SDK not
            max=None,  # type: ignore[arg-type]
        )
        for seen in all_seen
        if any(seen.counts)
    ]
    told = Histogram(data_points=points, aggregation_temporality=AggregationTemporality.CUMULATIVE)
    return Metric(name=name, description=description, unit=unit, data=told)

"""The metrics of requests: by model and class of key. Pure.

`key_class` is `direct`, `aggregator` (keys that are always told their usage) or `batch`.
"""

from __future__ import annotations

from gateway.telemetry.definition import OverWorkers, counter, gauge, histogram

REQUESTS = counter(
    "tollgate_requests",
    "Inference requests that were admitted, by how they ended",
    "endpoint",
    "model",
    "outcome",
    "key_class",
)
REFUSALS = counter(
    "tollgate_refusals",
    "Inference requests turned away before a node was dialled, by HTTP status and code",
    "endpoint",
    "status",
    "code",
    "model",
)
TTFT = histogram(
    "tollgate_time_to_first_token_seconds",
    "From acceptance to the first byte of the answer, streams only",
    "model",
    "key_class",
)
ITL = histogram(
    "tollgate_inter_token_latency_seconds",
    "Mean time between tokens of a stream, one observation a stream",
    "model",
    "key_class",
)
DURATION = histogram(
    "tollgate_request_duration_seconds",
    "From acceptance to the last byte of the answer",
    "model",
    "key_class",
)
TOKENS = counter(
    "tollgate_tokens",
    "Tokens charged; cached is the part of prompt that the node had in its prefix cache",
    "model",
    "kind",
    "key_class",
)
COST = counter("tollgate_cost_usd", "Charged to customers", "model", "key_class")
FAILOVERS = counter(
    "tollgate_failovers",
    "Requests sent to another node, because one failed",
    "model",
)
RESUMES = counter(
    "tollgate_resumes", "Streams gone on with by another node, because one failed in them", "model"
)
HEDGES = counter(
    "tollgate_hedges",
    "Streams for whose late first token another node was asked too, by whether that was first",
    "model",
    "result",
)
IN_FLIGHT = gauge("tollgate_requests_in_flight", "Exchanges under way", unit="requests")
HELD = gauge(
    "tollgate_held_usd", "Set aside for requests under way: the most that they can cost together"
)
DRAINING = gauge("tollgate_draining", "1 since it was told to stop", over_workers=OverWorkers.MAX)

TRAFFIC_METRICS = (
    REQUESTS,
    REFUSALS,
    TTFT,
    ITL,
    DURATION,
    TOKENS,
    COST,
    FAILOVERS,
    RESUMES,
    HEDGES,
    IN_FLIGHT,
    HELD,
    DRAINING,
)

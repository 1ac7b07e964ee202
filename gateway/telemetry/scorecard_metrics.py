"""The metrics of the provider scorecard: docs/scorecard.md says how each is counted. Pure."""

from __future__ import annotations

from gateway.telemetry.definition import gauge

UPTIME = gauge(
    "tollgate_scorecard_uptime_ratio",
    "Uptime as OpenRouter counts it, by window",
    "model",
    "window",
)
COUNTED = gauge(
    "tollgate_scorecard_requests",
    "Requests of the last 30 minutes by how they count; model is empty where none was named",
    "model",
    "counted",
    unit="requests",
)
BAND = gauge("tollgate_scorecard_band", "1 for the band that a model is in", "model", "band")
TO_DEMOTION = gauge(
    "tollgate_scorecard_failures_to_demotion",
    "Failures in a row that would lead to a worse band",
    "model",
    unit="requests",
)
CARD_TTFT = gauge(
    "tollgate_scorecard_ttft_seconds",
    "Time to first token over 5 minutes, to 2%",
    "model",
    "quantile",
)
CARD_THROUGHPUT = gauge(
    "tollgate_scorecard_throughput_tokens_per_second",
    "Output tokens by the time from acceptance to the last byte, over 5 minutes, to 2%",
    "model",
    "quantile",
    unit="tokens/second",
)
TOOL_ERRORS = gauge(
    "tollgate_scorecard_tool_error_ratio",
    "Answers with a bad tool call among those with tool calls, over 2 hours",
    "model",
)

SCORECARD_METRICS = (
    UPTIME,
    COUNTED,
    BAND,
    TO_DEMOTION,
    CARD_TTFT,
    CARD_THROUGHPUT,
    TOOL_ERRORS,
)

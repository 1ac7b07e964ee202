"""The scorecard as Prometheus's gauges. Labels: models on sale, and fixed words. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from prometheus_client.metrics_core import Metric

from gateway.scorecard.card import UNATTRIBUTED, Cards
from gateway.scorecard.figures import Figures, Uptime, figures_of
from gateway.scorecard.rules import Band
from gateway.telemetry import scorecard_metrics as metrics
from gateway.telemetry.definition import Definition
from gateway.telemetry.family import gauge_family

_QUANTILES = {"p50": "0.5", "p75": "0.75", "p90": "0.9", "p99": "0.99"}


def series(cards: Cards, now_ns: int) -> Iterator[Metric]:
    told = [figures_of(model, card, now_ns) for model, card in cards.items() if model]
    if UNATTRIBUTED in cards:
        told.append(figures_of(UNATTRIBUTED, cards[UNATTRIBUTED], now_ns))
    rated = [figures for figures in told if figures.model]
    yield _gauge(
        metrics.UPTIME,
        (
            ((figures.model, window), uptime.uptime)
            for figures in rated
            for window, uptime in _windows(figures)
        ),
    )
    yield _gauge(
        metrics.COUNTED,
        (
            ((figures.model, counted), count)
            for figures in told
            for counted, count in _counted(figures.uptime_30m)
        ),
    )
    yield _gauge(
        metrics.BAND,
        (
            ((figures.model, band.value), int(figures.band is band))
            for figures in rated
            for band in Band
        ),
    )
    yield _gauge(
        metrics.TO_DEMOTION,
        (
            ((figures.model,), figures.demotion.failures)
            for figures in rated
            if figures.demotion is not None
        ),
    )
    yield from _speeds(rated)
    yield _gauge(
        metrics.TOOL_ERRORS,
        (((figures.model,), figures.tool_calls.error_rate) for figures in rated),
    )


def _speeds(rated: Sequence[Figures]) -> Iterator[Metric]:
    yield _gauge(
        metrics.CARD_TTFT,
        (
            ((figures.model, _QUANTILES[name]), seconds)
            for figures in rated
            for name, seconds in figures.ttft_seconds.items()
        ),
    )
    yield _gauge(
        metrics.CARD_THROUGHPUT,
        (
            ((figures.model, _QUANTILES[name]), rate)
            for figures in rated
            for name, rate in figures.throughput_tokens_per_second.items()
        ),
    )


def _windows(figures: Figures) -> tuple[tuple[str, Uptime], ...]:
    return ("30s", figures.uptime_30s), ("5m", figures.uptime_5m), ("30m", figures.uptime_30m)


def _counted(uptime: Uptime) -> Iterator[tuple[str, int]]:
    yield "ok", uptime.requests - sum(uptime.against.values())
    yield from uptime.against.items()
    yield "rate_limited", uptime.rate_limited
    yield "forbidden", uptime.forbidden
    yield "user_error", uptime.user_errors
    yield "client_gone", uptime.client_gone


def _gauge(metric: Definition, samples: Iterator[tuple[tuple[str, ...], float | None]]) -> Metric:
    return gauge_family(metric, [(v, value) for v, value in samples if value is not None])

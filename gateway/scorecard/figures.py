"""What is read off a card: how an aggregator sees a model now, and what threatens. Pure."""

from __future__ import annotations

import msgspec

from gateway.scorecard.card import MINUTE_NS, MINUTES, Card, Counts
from gateway.scorecard.rules import (
    AGAINST,
    TOOL_ERRORS,
    Band,
    End,
    ToolEnd,
    band_of,
    failures_to_demotion,
)
from gateway.sketch import Sketch, percentile

RATED_MINUTES = 30
"""The band is that of so long."""
TOOL_MINUTES = 120
OUTAGE_REQUESTS_MIN = 10
OUTAGE_PERCENT = 80
"""Ours: OpenRouter prefers those without "significant outages in the last 30 seconds", and gives no
figure.
"""

PERCENTS = (50, 75, 90, 99)
Percentiles = dict[str, float]
"""By `p50` and so on; empty if there was nothing."""


class Uptime(msgspec.Struct, frozen=True, kw_only=True):
    requests: int
    """That count: what went well and what counts against."""
    uptime: float | None
    """From 0 to 1; None without a request."""
    against: dict[str, int]
    """By cause, those that there were."""
    rate_limited: int
    forbidden: int
    user_errors: int
    client_gone: int


class Demotion(msgspec.Struct, frozen=True, kw_only=True):
    """So many failures in a row would lead to this band."""

    band: Band
    failures: int


class ToolCalls(msgspec.Struct, frozen=True, kw_only=True):
    """Answers that finished with tool calls; one bad call makes an answer an error."""

    requests: int
    """That were checked."""
    error_rate: float | None
    errors: dict[str, int]
    unchecked: int
    """Requests with tools whose answer was not: whether it had calls is not known."""


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    model: str
    band: Band
    since_ns: int
    """By the clock of the card's slots, to the minute: since when it is in this band."""
    since_is_known: bool
    """False: it was in this band as far back as is remembered."""
    outage: bool
    demotion: Demotion | None
    uptime_30s: Uptime
    uptime_5m: Uptime
    uptime_30m: Uptime
    ttft_seconds: Percentiles
    throughput_tokens_per_second: Percentiles
    tool_calls: ToolCalls


def figures_of(model: str, card: Card, now_ns: int) -> Figures:
    minute = now_ns // MINUTE_NS
    rated, short = card.before(minute, RATED_MINUTES), card.lately(now_ns, 6)
    band = _band(rated)
    since = _since(card, minute, band)
    threat = failures_to_demotion(*_judged(rated))
    ttft, throughput = card.sketches(now_ns)
    return Figures(
        model=model,
        band=band,
        since_ns=since * MINUTE_NS,
        since_is_known=since > minute - _REMEMBERED,
        outage=_is_outage(short),
        demotion=None if threat is None else Demotion(band=threat[0], failures=threat[1]),
        uptime_30s=uptime_of(short),
        uptime_5m=uptime_of(card.lately(now_ns, 60)),
        uptime_30m=uptime_of(rated),
        ttft_seconds=_percentiles(ttft, 1e9),
        throughput_tokens_per_second=_percentiles(throughput, 1e3),
        tool_calls=_tool_calls(card.before(minute, TOOL_MINUTES)),
    )


def uptime_of(counts: Counts) -> Uptime:
    ok, against = _judged(counts)
    return Uptime(
        requests=ok + against,
        uptime=_ratio(ok, ok + against),
        against={cause.label: counts[cause] for cause in AGAINST if counts[cause]},
        rate_limited=counts[End.RATE_LIMITED],
        forbidden=counts[End.FORBIDDEN],
        user_errors=counts[End.USER_ERROR],
        client_gone=counts[End.CLIENT_GONE],
    )


_REMEMBERED = MINUTES - 1 - RATED_MINUTES
"""So many minutes ago there was still a whole window to judge by."""


def _since(card: Card, minute: int, band: Band) -> int:
    """The first of the minutes up to now at whose end the band was this one."""
    for back in range(1, _REMEMBERED + 1):
        if _band(card.before(minute - back, RATED_MINUTES)) is not band:
            return minute - back + 1
    return minute - _REMEMBERED


def _judged(counts: Counts) -> tuple[int, int]:
    return counts[End.OK], sum(counts[cause] for cause in AGAINST)


def _band(counts: Counts) -> Band:
    return band_of(*_judged(counts))


def _is_outage(counts: Counts) -> bool:
    ok, against = _judged(counts)
    requests = ok + against
    return requests >= OUTAGE_REQUESTS_MIN and 100 * ok < OUTAGE_PERCENT * requests


def _tool_calls(counts: Counts) -> ToolCalls:
    errors = {kind.label: counts[kind] for kind in TOOL_ERRORS if counts[kind]}
    checked = counts[ToolEnd.VALID] + sum(errors.values())
    return ToolCalls(
        requests=checked,
        error_rate=_ratio(sum(errors.values()), checked),
        errors=errors,
        unchecked=counts[ToolEnd.UNCHECKED],
    )


def _percentiles(sketch: Sketch, unit: float) -> Percentiles:
    if not sketch:
        return {}
    return {f"p{percent}": percentile(sketch, percent) / unit for percent in PERCENTS}


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None

"""The bars that Tollgate has set itself, held against a run. Pure."""

from __future__ import annotations

import msgspec

from .figures import (
    ADDED_P50,
    ADDED_P99,
    CPU_EVENT,
    CPU_REQUEST,
    RATE_256,
    RSS_IDLE,
    TTFT_P50,
    TTFT_P99,
    Figure,
)
from .result import Run

OURS, RUST, C = "tollgate", "sglang-router", "haproxy"


class Bar(msgspec.Struct, frozen=True, kw_only=True):
    """`limit` is absolute, or a multiple of what `beside` reached in the same run."""

    what: str
    figure: Figure
    limit: float
    beside: str | None = None
    at_least: bool = False
    aim: bool = False
    """What we strive for beyond the bar."""


BARS = (
    Bar(what="CPU a request", figure=CPU_REQUEST, limit=0.5, beside=RUST),
    Bar(what="CPU a request", figure=CPU_REQUEST, limit=2, beside=C, aim=True),
    Bar(what="CPU a paced event", figure=CPU_EVENT, limit=1, beside=RUST),
    Bar(what="CPU a paced event", figure=CPU_EVENT, limit=1.2, beside=C, aim=True),
    Bar(what="256 connections", figure=RATE_256, limit=2, beside=RUST, at_least=True),
    Bar(what="added latency at 200/s, p50", figure=ADDED_P50, limit=0.7),
    Bar(what="added latency at 200/s, p99", figure=ADDED_P99, limit=2.5),
    Bar(what="first event of 256 streams, p50", figure=TTFT_P50, limit=1),
    Bar(what="first event of 256 streams, p99", figure=TTFT_P99, limit=3),
    Bar(what="RSS idle", figure=RSS_IDLE, limit=90),
)


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """`met` is None if it could not be judged; `text` says it all."""

    met: bool | None
    aim: bool
    text: str


def judge(run: Run) -> list[Verdict]:
    """Medians of the repeats, each against its bar."""
    return [_judged(run, bar) for bar in BARS]


def _judged(run: Run, bar: Bar) -> Verdict:
    figure = bar.figure
    ours = figure.of(run, OURS)
    theirs = None if bar.beside is None else figure.of(run, bar.beside)
    sign = "at least" if bar.at_least else "at most"
    wanted = f"{sign} {bar.limit:g} {figure.unit}"
    if bar.beside is not None:
        wanted = f"{sign} {bar.limit:g} x {bar.beside}"
    if ours is None or (bar.beside is not None and theirs is None):
        text = f"{bar.what}: {wanted}; not measured in this run"
        return Verdict(met=None, aim=bar.aim, text=text)
    limit, shown = bar.limit, ""
    if theirs is not None:
        limit = bar.limit * theirs.median
        ratio = ours.median / theirs.median
        shown = f" = {ratio:.2f} x {theirs.median:,.{figure.digits}f}"
    met = ours.median >= limit if bar.at_least else ours.median <= limit
    reached = f"{ours.median:,.{figure.digits}f} {figure.unit}{shown}"
    return Verdict(met=met, aim=bar.aim, text=f"{bar.what}: {wanted}; {reached}")

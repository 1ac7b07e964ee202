"""The figures of a run: a number for each peer and repeat, told as median and spread. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from statistics import median

import msgspec

from .arithmetic import Percentiles, Spread, per_unit_us, spread
from .job import Report
from .result import Run

DIRECT = "direct"
ANSWERS_MIN, EVENTS_MIN = 200, 1000
"""Fewer in a window, and a tick of the kernel's CPU clock would be seen in the figure."""

Value = Callable[[Run, str], list[float]]


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    title: str
    unit: str
    digits: int
    values: Value

    def of(self, run: Run, peer: str) -> Spread | None:
        """None if it was not measured."""
        return spread(self.values(run, peer))


def _of_reports(job: str, value: Callable[[Report], float | None]) -> Value:
    def values(run: Run, peer: str) -> list[float]:
        return _known(value(report) for report in run.reports(peer, job))

    return values


def _known(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def _cpu_of_request(report: Report) -> float | None:
    if report.gateway_cpu_s is None:
        return None
    return per_unit_us(report.gateway_cpu_s, report.answers, units_min=ANSWERS_MIN)


def _cpu_of_event(report: Report) -> float | None:
    if report.gateway_cpu_s is None:
        return None
    return per_unit_us(report.gateway_cpu_s, report.events, units_min=EVENTS_MIN)


def _cpu_of_request_all_told(run: Run, peer: str) -> list[float]:
    """With the work that was put off until after the last answer, such as booking into a ledger."""
    found = [m for m in run.measures if m.peer == peer and m.name == "32 connections"]
    return _known(
        per_unit_us(m.all_cpu_s, m.report.counted.sent, units_min=ANSWERS_MIN)
        for m in found
        if m.all_cpu_s is not None
    )


def _percentile(
    job: str, of: Callable[[Report], Percentiles | None], name: str, *, added: bool = False
) -> Value:
    """`added`: less the median of what the node takes when it is asked directly."""

    def plain(run: Run, peer: str) -> list[float]:
        found = [of(report) for report in run.reports(peer, job)]
        return [getattr(percentiles, name) for percentiles in found if percentiles is not None]

    def values(run: Run, peer: str) -> list[float]:
        direct = plain(run, DIRECT)
        if peer == DIRECT or not direct:
            return []
        return [value - median(direct) for value in plain(run, peer)]

    return values if added else plain


def _load_core_use(report: Report) -> float:
    return 100 * (report.load_cpu_s + report.node_cpu_s) / report.window_s


def _others_on_core(report: Report) -> float | None:
    if report.gateway_cpu_s is None:
        return None
    return 100 * (report.gateway_core_busy_s - report.gateway_cpu_s) / report.window_s


def _latency(report: Report) -> Percentiles | None:
    return report.latency


def _ttft(report: Report) -> Percentiles | None:
    return report.ttft


def _gap(report: Report) -> Percentiles | None:
    return report.gap


def _rate(count: Callable[[Report], int]) -> Callable[[Report], float]:
    return lambda report: count(report) / report.window_s


_PACED = "256 paced streams"

CPU_REQUEST = Figure(
    title="CPU, c=32", unit="µs/request", digits=1,
    values=_of_reports("32 connections", _cpu_of_request),
)  # fmt: skip
CPU_REQUEST_ALL = Figure(
    title="all told", unit="µs/request", digits=1, values=_cpu_of_request_all_told
)
RATE_32 = Figure(
    title="c=32", unit="requests/s", digits=0,
    values=_of_reports("32 connections", _rate(lambda report: report.answers)),
)  # fmt: skip
RATE_256 = Figure(
    title="c=256", unit="requests/s", digits=0,
    values=_of_reports("256 connections", _rate(lambda report: report.answers)),
)  # fmt: skip
ONE_P50 = Figure(
    title="c=1, p50", unit="ms", digits=2,
    values=_percentile("1 connection", _latency, "p50"),
)  # fmt: skip
BUSY_P99 = Figure(
    title="c=256, p99", unit="ms", digits=1,
    values=_percentile("256 connections", _latency, "p99"),
)  # fmt: skip
FIXED_P50 = Figure(
    title="p50", unit="ms", digits=2, values=_percentile("fixed rate", _latency, "p50")
)
FIXED_P99 = Figure(
    title="p99", unit="ms", digits=2, values=_percentile("fixed rate", _latency, "p99")
)
ADDED_P50 = Figure(
    title="added p50", unit="ms", digits=2,
    values=_percentile("fixed rate", _latency, "p50", added=True),
)  # fmt: skip
ADDED_P99 = Figure(
    title="added p99", unit="ms", digits=2,
    values=_percentile("fixed rate", _latency, "p99", added=True),
)  # fmt: skip
CPU_EVENT = Figure(
    title="CPU, paced", unit="µs/event", digits=1,
    values=_of_reports(_PACED, _cpu_of_event),
)  # fmt: skip
TTFT_P50 = Figure(
    title="first event p50", unit="ms", digits=2, values=_percentile(_PACED, _ttft, "p50")
)
TTFT_P99 = Figure(
    title="first event p99", unit="ms", digits=2, values=_percentile(_PACED, _ttft, "p99")
)
GAP_P99 = Figure(title="gap p99", unit="ms", digits=1, values=_percentile(_PACED, _gap, "p99"))
UNPACED_64 = Figure(
    title="unpaced, 64", unit="events/s", digits=0,
    values=_of_reports("64 streams", _rate(lambda report: report.events)),
)  # fmt: skip
UNPACED_256 = Figure(
    title="unpaced, 256", unit="events/s", digits=0,
    values=_of_reports("256 streams", _rate(lambda report: report.events)),
)  # fmt: skip
RSS_IDLE = Figure(
    title="RSS idle", unit="MiB", digits=1,
    values=lambda run, peer: [start.rss_mib for start in run.starts if start.peer == peer],
)  # fmt: skip
RSS_STREAMS = Figure(
    title="RSS, 256", unit="MiB", digits=1,
    values=_of_reports(_PACED, lambda report: report.gateway_rss_mib),
)  # fmt: skip
LOAD_CORE = Figure(
    title="load core", unit="%", digits=0,
    values=_of_reports("32 connections", _load_core_use),
)  # fmt: skip
OTHERS = Figure(
    title="others", unit="%", digits=0,
    values=_of_reports("32 connections", _others_on_core),
)  # fmt: skip
LOAD_COST = Figure(
    title="load generator", unit="µs/request", digits=1,
    values=_of_reports(
        "32 connections",
        lambda report: per_unit_us(report.load_cpu_s, report.answers, units_min=ANSWERS_MIN),
    ),
)  # fmt: skip
NODE_COST = Figure(
    title="mock node", unit="µs/request", digits=1,
    values=_of_reports(
        "32 connections",
        lambda report: per_unit_us(report.node_cpu_s, report.answers, units_min=ANSWERS_MIN),
    ),
)  # fmt: skip

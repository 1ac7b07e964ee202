"""Runs made up for tests: a figure for each thing that a bar looks at."""

from __future__ import annotations

from bench.arithmetic import Percentiles
from bench.job import Counted, Report
from bench.result import Measure, Run, Start


def flat(milliseconds: float) -> Percentiles:
    return Percentiles(
        count=1, p50=milliseconds, p90=milliseconds, p99=milliseconds, max=milliseconds
    )


def report(
    *,
    cpu_us: float | None = None,
    answers: int = 10_000,
    events: int = 0,
    latency_ms: float = 1,
    ttft_ms: float = 1,
) -> Report:
    """Of a window of one second; `cpu_us` an answer, or an event if there are any."""
    return Report(
        window_s=1,
        gateway_cpu_s=None if cpu_us is None else cpu_us * (events or answers) / 1e6,
        node_cpu_s=0.1,
        load_cpu_s=0.1,
        gateway_core_busy_s=1,
        gateway_rss_mib=None if cpu_us is None else 60,
        answers=answers,
        events=events,
        reads=events,
        latency=flat(latency_ms),
        ttft=flat(ttft_ms),
        gap=flat(20),
        late=None,
        counted=Counted(sent=answers, finished=answers),
    )


def run_of(*peers: tuple[str, float, float, int, float, float, float]) -> Run:
    """Peers as (name, µs a request, µs an event, requests/s, latency, first event, MiB)."""
    run = Run(command="make bench", date="2026-11-21", machine="a machine", commit="abc1234")
    for name, request_us, event_us, rate, latency_ms, ttft_ms, rss_mib in peers:
        direct = name == "direct"
        reports = {
            "32 connections": report(cpu_us=None if direct else request_us),
            "256 connections": report(cpu_us=None if direct else request_us, answers=rate),
            "fixed rate": report(latency_ms=latency_ms),
            "256 paced streams": report(
                cpu_us=None if direct else event_us, events=10_000, ttft_ms=ttft_ms
            ),
        }
        run.measures += [
            Measure(peer=name, repeat=0, name=key, report=value, all_cpu_s=None)
            for key, value in reports.items()
        ]
        if not direct:
            run.starts.append(Start(peer=name, repeat=0, start_s=1, rss_mib=rss_mib))
    return run

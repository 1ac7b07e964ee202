"""What is measured of every peer, in this order."""

from __future__ import annotations

from collections.abc import Callable

from .job import Job, Target
from .shape import Shape

EVENTS = 128
APART_MS = 20.0
"""As an engine writes: one event, one read, one write. Unpaced events pile up in the sockets, so a
slow gateway forwards many at once and looks cheap."""


def _closed(connections: int) -> Callable[[Target, float, int], Job]:
    return lambda target, window_s, rate: Job(
        kind="closed", target=target, connections=connections, warm_s=0.4, window_s=window_s
    )


def _open(target: Target, window_s: float, rate_per_s: int) -> Job:
    return Job(kind="open", target=target, rate_per_s=rate_per_s, warm_s=0.5, window_s=window_s + 1)


def _streams(connections: int, apart_ms: float) -> Callable[[Target, float, int], Job]:
    paced = bool(apart_ms)
    return lambda target, window_s, rate: Job(
        kind="streams",
        target=target,
        connections=connections,
        shape=Shape(events=EVENTS, apart_ms=apart_ms),
        warm_s=1.5 if paced else 1,
        window_s=window_s + paced,
        cut=paced,
    )


JOBS: dict[str, Callable[[Target, float, int], Job]] = {
    "1 connection": _closed(1),
    "32 connections": _closed(32),
    "256 connections": _closed(256),
    "fixed rate": _open,
    "64 streams": _streams(64, 0),
    "256 streams": _streams(256, 0),
    "256 paced streams": _streams(256, APART_MS),
}
"""Each makes a job of (target, seconds of the window, requests per second of the fixed rate)."""

WARM_UP = Job(
    kind="closed",
    target=Target(port=0, node_pid=0, gateway_core=0),
    connections=32,
    warm_s=0,
    window_s=1,
)
"""Thrown away; its target is replaced."""

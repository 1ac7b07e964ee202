"""What a load process is told to do, and what it reports. Records only."""

from __future__ import annotations

from typing import Literal

import msgspec

from .arithmetic import Percentiles
from .shape import Shape


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """Where requests go, and whose CPU is to be read."""

    port: int
    path: str = "/v1/chat/completions"
    headers: tuple[str, ...] = ()
    model: str = "mock"
    gateway_pid: int | None = None
    """None: the node is asked directly."""
    node_pid: int
    gateway_core: int


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One measure. What happens before `warm_s` is over and after `window_s` is not in its figures,
    but it is in `Counted`.
    """

    kind: Literal["closed", "open", "streams", "flood"]
    target: Target
    warm_s: float
    window_s: float
    connections: int = 1
    """Closed loop and streams."""
    rate_per_s: float = 0
    """Open loop and flood."""
    shape: Shape | None = None
    """Streams, and what a flood asks for."""
    stall_s: float | None = None
    """Open loop: an answer that takes this long is no latency but a stall."""
    own_sessions: bool = False
    """Open loop and flood: each request is of a session of its own, so that none keeps a node."""
    cut: bool = False
    """Leave at the end of the window instead of reading streams to their ends."""


class Counted(msgspec.Struct, kw_only=True):
    """Everything that was sent, from the first request to the last: what the books must hold."""

    sent: int = 0
    finished: int = 0
    finished_tokens: int = 0
    cut: int = 0
    """Streams left before their end, after their first event came."""
    cut_tokens: int = 0
    """Tokens of those that had come: more may have been on their way."""
    failed: int = 0

    def add(self, other: Counted) -> None:
        for name in self.__struct_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Figures of the window, and `counted` of the whole job."""

    window_s: float
    gateway_cpu_s: float | None
    node_cpu_s: float
    load_cpu_s: float
    gateway_core_busy_s: float
    gateway_rss_mib: float | None
    answers: int
    """Requests answered, whole JSON or stream."""
    events: int
    reads: int
    """Reads that brought events: fewer than `events` if several came in one."""
    latency: Percentiles | None
    """Request to last byte; in an open loop, from the moment it was due."""
    ttft: Percentiles | None
    """Request to first event."""
    gap: Percentiles | None
    """Between the reads that brought events of one stream."""
    late: Percentiles | None
    """Open loop: how late the load generator itself was."""
    counted: Counted
    statuses: dict[str, int] = {}
    """Flood: of all answers."""
    refusal_on_core: Percentiles | None = None
    """Flood: the next, less the time in which the gateway or the load was ready and had no core:
    of the two the longer one.
    """
    core_wait_s: float = 0
    """Flood: of such time, of the one that waited longer."""
    refusal: Percentiles | None = None
    """Flood: from the asking to the last byte of what was no 200."""

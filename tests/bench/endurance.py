"""What must hold for hours, in minutes: memory, bad clients, bad nodes, and nothing left over.

Each scenario takes a size, so that a test can run a small one, and returns its findings.
"""

from __future__ import annotations

import socket
import tempfile
from collections.abc import Callable
from pathlib import Path

import msgspec

from gateway.honesty.recounts import ROOM_BYTES

from . import proc_tree
from .asker import request
from .job import Counted, Job, Report, Target
from .shape import Shape
from .stage import Cores, Setting, Stage

Tell = Callable[[str], None]
NOWHERE = Target(port=0, node_pid=0, gateway_core=0)
"""The stage puts its own target in its place."""

RSS_IDLE_MIB_MAX = 90.0
STREAM_KIB_MAX = 24.0
GROWTH_MAX = 0.05
SLOW_READER_KIB_MAX = 640.0
"""The gateway's write buffer of a client (256 KiB), what one more read brings (256), the rest."""
GAP_P99_MAX, GAP_SLACK_MS = 1.25, 5.0
STALL_S = 1
"""How long a node may take for its first byte, where one is hung."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """`timing`: it depends on what else the machine does, so a test does not hold it to its bar."""

    text: str
    met: bool
    timing: bool = False


def idle_streams(cores: Cores, tell: Tell, *, streams: int) -> list[Finding]:
    """Memory of a gateway at rest, and of streams that are open and silent."""
    with tempfile.TemporaryDirectory() as folder, Stage(Path(folder), Setting(), cores) as stage:
        idle_mib = stage.rss_mib()
        tell(f"opening {streams} streams that say one token and fall silent")
        job = Job(
            kind="streams",
            target=NOWHERE,
            connections=streams,
            shape=Shape(events=2, then_silence=True),
            warm_s=1 + streams / 200,
            window_s=1,
            cut=True,
        )
        report = stage.load(job)
        loaded_mib = report.gateway_rss_mib or 0
        each_kib = (loaded_mib - idle_mib) * 1024 / streams
        return [
            Finding(
                text=f"RSS idle: {idle_mib:.1f} MiB, at most {RSS_IDLE_MIB_MAX:g}",
                met=idle_mib <= RSS_IDLE_MIB_MAX,
            ),
            Finding(
                text=f"RSS with {streams} silent streams: {loaded_mib:.1f} MiB, {each_kib:.1f} KiB "
                f"a stream, at most {STREAM_KIB_MAX:g}",
                met=each_kib <= STREAM_KIB_MAX,
            ),
            *nothing_left(stage),
        ]


def many_requests(cores: Cores, tell: Tell, *, first: int, then: int) -> list[Finding]:
    """Memory after `first` requests and after `then`: what grows with requests is a leak."""
    with tempfile.TemporaryDirectory() as folder, Stage(Path(folder), Setting(), cores) as stage:
        window_s = 5 if then > 50_000 else 0.5
        job = Job(kind="closed", target=NOWHERE, connections=64, warm_s=0.1, window_s=window_s)
        sizes = []
        for goal in (first, then):
            while stage.counted.sent < goal:
                stage.load(job)
                tell(f"{stage.counted.sent:,} of {then:,} requests")
            sizes.append((stage.counted.sent, stage.rss_mib()))
        (early, early_mib), (late, late_mib) = sizes
        growth = late_mib / early_mib - 1
        return [
            Finding(
                text=f"RSS after {early:,} requests {early_mib:.1f} MiB, after {late:,} "
                f"{late_mib:.1f} MiB: {growth:+.1%}, at most {GROWTH_MAX:+.0%}",
                met=growth <= GROWTH_MAX,
            ),
            *nothing_left(stage),
        ]


def slow_readers(
    cores: Cores, tell: Tell, *, slow: int, normal: int, window_s: float
) -> list[Finding]:
    """Clients that ask for long streams and read none of it, beside clients that read."""
    with tempfile.TemporaryDirectory() as folder, Stage(Path(folder), Setting(), cores) as stage:
        job = Job(
            kind="streams",
            target=NOWHERE,
            connections=normal,
            shape=Shape(events=64, apart_ms=20),
            warm_s=1,
            window_s=window_s,
        )
        tell(f"{normal} streams alone")
        alone = stage.load(job)
        tell(f"{normal} streams beside {slow} that nobody reads")
        sockets = _ask_and_not_read(stage, slow)
        stage.wait_for("tollgate_requests_in_flight", slow)
        stage.rss_mib()  # once it is quiet, every buffer on their way is full
        kernel_mib = proc_tree.socket_memory_mib()
        beside = stage.load(job)
        for connection in sockets:
            connection.close()
        grown_kib = ((beside.gateway_rss_mib or 0) - (alone.gateway_rss_mib or 0)) * 1024
        each_kib = max(0.0, grown_kib - ROOM_BYTES / 1024) / slow
        bar_ms = _gap_p99_ms(alone) * GAP_P99_MAX + GAP_SLACK_MS
        return [
            Finding(
                text=f"memory of {slow} slow readers: {each_kib:.0f} KiB each, at most "
                f"{SLOW_READER_KIB_MAX:g} beside {ROOM_BYTES / 2**20:g} MiB for answers that are "
                f"counted again (and {kernel_mib * 1024 / slow:,.0f} KiB in the kernel's "
                "socket buffers, both sides of the gateway)",
                met=each_kib <= SLOW_READER_KIB_MAX,
            ),
            Finding(
                text=f"gap between events of the others, p99: {_gap_p99_ms(alone):.1f} ms alone, "
                f"{_gap_p99_ms(beside):.1f} ms beside them, at most {bar_ms:.1f}",
                met=_gap_p99_ms(beside) <= bar_ms,
                timing=True,
            ),
            *nothing_left(stage),
        ]


def hung_node(
    cores: Cores, tell: Tell, *, nodes: int, rate_per_s: float, window_s: float
) -> list[Finding]:
    """One node accepts and never answers: who is sent to others must not notice."""
    job = Job(
        kind="open",
        target=NOWHERE,
        rate_per_s=rate_per_s,
        warm_s=0,
        window_s=window_s,
        stall_s=STALL_S,
        own_sessions=True,
    )
    reports: list[Report] = []
    findings: list[Finding] = []
    for hung in (0, 1):
        setting = Setting(nodes=nodes, hung_nodes=hung, first_byte_timeout_s=STALL_S)
        tell(f"{nodes} nodes, {hung} of them hung")
        with tempfile.TemporaryDirectory() as folder, Stage(Path(folder), setting, cores) as stage:
            reports.append(stage.load(job))
            moved = stage.metric("tollgate_failovers_total")
            findings = nothing_left(stage)
    well, sick = reports
    well_ms, sick_ms = _latency_p90_ms(well), _latency_p90_ms(sick)
    bar_ms = well_ms * GAP_P99_MAX + GAP_SLACK_MS
    return [
        Finding(
            text=f"one of {nodes} nodes hung, {sick.counted.sent} requests: {moved:g} waited "
            f"{STALL_S} s for it and were sent to another, {sick.counted.failed} failed",
            met=sick.counted.failed == 0 and moved > 0,
        ),
        Finding(
            text=f"latency of the others, p90: {well_ms:.2f} ms with all nodes well, "
            f"{sick_ms:.2f} ms with one hung, at most {bar_ms:.2f}",
            met=sick_ms <= bar_ms,
            timing=True,
        ),
        *findings,
    ]


def _ask_and_not_read(stage: Stage, count: int) -> list[socket.socket]:
    """Connections with small receive buffers, each owed a stream of 9 MB."""
    target, shape = stage.target, Shape(events=30_000)
    asked = request(target.port, target.path, target.headers, target.model, shape)
    connections = []
    for _ in range(count):
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", target.port))
        connection.sendall(asked)
        connections.append(connection)
    stage.counted.add(Counted(sent=count, cut=count))
    return connections


def nothing_left(stage: Stage) -> list[Finding]:
    left = stage.leftovers()
    books, wrong = stage.close_books()
    return [
        Finding(text=f"left over: {', '.join(left) or 'nothing'}", met=not left),
        Finding(
            text=f"books: {'; '.join(wrong)}"
            if wrong
            else f"books exact: {books.charges:,} charges, {books.completion_tokens:,} tokens, "
            "nothing held",
            met=not wrong,
        ),
    ]


def _gap_p99_ms(report: Report) -> float:
    assert report.gap is not None, "no stream brought two events"
    return report.gap.p99


def _latency_p90_ms(report: Report) -> float:
    assert report.latency is not None, "no request was answered"
    return report.latency.p90

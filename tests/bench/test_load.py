"""The load generator against the mock node itself: what one counts the other wrote."""

from __future__ import annotations

import os
import socket

import pytest
from bench.job import Job, Target
from bench.load import carry_out
from bench.mock_node import Tally
from bench.pinned import Pinned
from bench.probe import read_tally, wait_until_up
from bench.shape import Shape
from held_port import held_port

JOBS = {
    "closed": {"kind": "closed", "connections": 4},
    "open": {"kind": "open", "rate_per_s": 100},
    "streams": {"kind": "streams", "connections": 4, "shape": Shape(events=10)},
    "paced and cut": {
        "kind": "streams", "connections": 4, "shape": Shape(events=500, apart_ms=5), "cut": True,
    },
    "silent": {
        "kind": "streams", "connections": 4, "shape": Shape(events=3, then_silence=True),
        "cut": True,
    },
}  # fmt: skip


@pytest.fixture(name="target")
def _target(tmp_path):
    core = max(os.sched_getaffinity(0))
    port = held_port()
    command = [os.sys.executable, "-m", "tests.bench.mock_node", str(port)]
    with Pinned(command, core=core, log=tmp_path / "node.log") as node:
        wait_until_up(port, node)
        yield Target(port=port, node_pid=node.pid, gateway_core=core)


@pytest.mark.parametrize("name", JOBS)
def test_what_is_counted_was_written(target, name):
    core = target.gateway_core
    report = carry_out(Job(target=target, warm_s=0.1, window_s=0.4, **JOBS[name]), core)
    counted, tally = report.counted, read_tally(target.port)
    assert counted.failed == 0
    assert counted.sent == counted.finished + counted.cut > 0
    assert (counted.finished, counted.finished_tokens) == (tally.finished, tally.finished_tokens)
    assert counted.cut == tally.cut
    assert counted.cut_tokens <= tally.cut_tokens


def test_a_stream_that_fell_silent_is_counted_to_the_token(target):
    job = Job(target=target, warm_s=0.1, window_s=0.2, **JOBS["silent"])
    carry_out(job, target.gateway_core)
    assert read_tally(target.port) == Tally(cut=4, cut_tokens=8)


def test_latency_counts_from_the_moment_a_request_was_due(target):
    job = Job(target=target, warm_s=0.1, window_s=0.4, **JOBS["open"])
    report = carry_out(job, target.gateway_core)
    assert report.answers == 40
    assert report.latency.p50 > report.late.p50 > 0


def test_paced_events_come_as_far_apart_as_asked(target):
    job = Job(target=target, warm_s=0.1, window_s=0.4, **JOBS["paced and cut"])
    report = carry_out(job, target.gateway_core)
    assert report.gap.p50 == pytest.approx(5, abs=2)


@pytest.mark.parametrize(
    "asked",
    [
        b"POST /v1/chat/completions/render HTTP/1.1\r\ncontent-length: 2\r\n\r\n{}",
        b"GET /unheard-of HTTP/1.1\r\n\r\n",
    ],
)
def test_the_node_has_no_route_but_those_it_has(target, asked):
    """A router that asks for more goes on without it; an answer would be taken for the real one."""
    with socket.create_connection(("127.0.0.1", target.port)) as connection:
        connection.sendall(asked)
        assert connection.recv(4096).startswith(b"HTTP/1.1 404 ")
    assert read_tally(target.port) == Tally()

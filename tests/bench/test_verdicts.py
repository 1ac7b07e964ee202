"""Bars are judged by medians of the same run, and what was not measured is not met."""

from __future__ import annotations

import pytest
from bench.runs import run_of
from bench.verdicts import judge

DIRECT = ("direct", 0, 0, 40_000, 0.3, 0.2, 0)
HAPROXY = ("haproxy", 20, 18, 30_000, 0.5, 0.3, 15)
SGLANG = ("sglang-router", 100, 20, 5_000, 0.9, 40, 91)


def verdicts(ours: tuple, *others: tuple) -> list[bool | None]:
    run = run_of(("tollgate", *ours), *others)
    return [verdict.met for verdict in judge(run)]


def test_everything_at_its_bar_is_met():
    ours = (40, 20, 10_000, 1.0, 1, 90)
    assert verdicts(ours, DIRECT, HAPROXY, SGLANG) == [True] * 10


@pytest.mark.parametrize(
    ("ours", "missed"),
    [
        ((50.1, 20, 10_000, 1.0, 1, 90), {0, 1}),
        ((49, 20, 10_000, 1.0, 1, 90), {1}),
        ((40, 20.5, 10_000, 1.0, 1, 90), {2}),
        ((40, 22, 10_000, 1.0, 1, 90), {2, 3}),
        ((40, 20, 9_999, 1.0, 1, 90), {4}),
        ((40, 20, 10_000, 1.1, 1, 90), {5}),
        ((40, 20, 10_000, 2.9, 1, 90), {5, 6}),
        ((40, 20, 10_000, 1.0, 1.1, 90), {7}),
        ((40, 20, 10_000, 1.0, 3.1, 90), {7, 8}),
        ((40, 20, 10_000, 1.0, 1, 90.1), {9}),
    ],
)
def test_what_is_beyond_its_bar_is_missed(ours, missed):
    found = verdicts(ours, DIRECT, HAPROXY, SGLANG)
    assert {number for number, met in enumerate(found) if met is False} == missed


def test_without_the_other_gateway_there_is_no_verdict():
    assert verdicts((40, 20, 10_000, 1.0, 1, 90), DIRECT)[:5] == [None] * 5


def test_added_latency_needs_the_node_asked_directly():
    assert verdicts((40, 20, 10_000, 1.0, 1, 90), HAPROXY, SGLANG)[5:7] == [None, None]


def test_a_verdict_tells_the_figures():
    run = run_of(("tollgate", 40, 20, 10_000, 1.0, 1, 90), DIRECT, HAPROXY, SGLANG)
    text = judge(run)[0].text
    assert text == "CPU a request: at most 0.5 x sglang-router; 40.0 µs/request = 0.40 x 100.0"

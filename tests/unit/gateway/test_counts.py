"""Counts that add up, and what Prometheus is told of them."""

from __future__ import annotations

import random
from bisect import bisect_left

import pytest
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

from gateway.telemetry.counts import DURATION_BOUNDS_NS, Counts, Ended, Refused, Seen, total
from gateway.telemetry.exposition import families


class Fixed(Collector):
    def __init__(self, counts: Counts) -> None:
        self._counts = counts

    def collect(self):
        return families(self._counts)


def exposed(counts: Counts) -> list[str]:
    registry = CollectorRegistry()
    registry.register(Fixed(counts))
    return generate_latest(registry).decode().splitlines()


def ended(*durations_ns: int, since_ns: int = 7, **fields: int) -> Ended:
    record = Ended(since_ns=since_ns, requests=len(durations_ns), **fields)
    for duration_ns in durations_ns:
        record.duration_ns += duration_ns
        record.duration_counts[bisect_left(DURATION_BOUNDS_NS, duration_ns)] += 1
    return record


def test_exposed_as_prometheus_client_exposes_its_own():
    """Bounds are inclusive, buckets cumulative, names and help as they ever were."""
    registry = CollectorRegistry()
    histogram = Histogram(
        "tollgate_request_duration_seconds",
        "From acceptance to the last byte of the answer",
        ["model"],
        buckets=[bound_ns / 1e9 for bound_ns in DURATION_BOUNDS_NS],
        registry=registry,
    )
    requests = Counter(
        "tollgate_requests",
        "Inference requests that were admitted, by how they ended",
        ["endpoint", "model", "outcome"],
        registry=registry,
    )
    rng = random.Random(3)
    exact = [*DURATION_BOUNDS_NS, *(bound_ns + 1 for bound_ns in DURATION_BOUNDS_NS)]
    durations_ns = exact + [rng.randrange(10**6, 10**13) for _ in range(200)]
    for duration_ns in durations_ns:
        histogram.labels("m").observe(duration_ns / 1e9)
        requests.labels("chat", "m", "completed").inc()
    mine = exposed(Counts(ended={("chat", "m", "completed"): ended(*durations_ns)}))
    theirs = generate_latest(registry).decode().splitlines()
    told = [line for line in theirs if "_created{" not in line and "_sum{" not in line]
    assert len(told) > len(DURATION_BOUNDS_NS)
    assert [line for line in told if line not in mine] == []
    (sum_s,) = [line.split()[1] for line in mine if "duration_seconds_sum" in line]
    assert float(sum_s) == sum(durations_ns) / 1e9


def test_cost_is_exact_however_many_are_added():
    counts = Counts(ended={("chat", "m", "completed"): ended(charged=3, cost_nano_usd=0)})
    for _ in range(100_000):
        counts.ended["chat", "m", "completed"].cost_nano_usd += 3_200
    assert 'tollgate_cost_usd_total{model="m"} 0.32' in exposed(counts)


def test_a_series_is_there_from_its_first_event_on():
    uncharged = exposed(Counts(ended={("chat", "m", "no_capacity"): ended(5)}))
    assert 'tollgate_requests_total{endpoint="chat",model="m",outcome="no_capacity"} 1.0' in (
        uncharged
    )
    for absent in ("tokens", "cost_usd", "failovers", "time_to_first_token", "inter_token"):
        assert not [line for line in uncharged if line.startswith(f"tollgate_{absent}_")]


def test_parts_add_up_and_stay_as_they_are():
    chat, other = ("chat", "m", "completed"), ("chat", "m", "client_gone")
    full = ("chat", "429", "no_capacity")
    one = Counts(
        ended={chat: ended(10, 40 * 10**6, since_ns=5, prompt_tokens=3)},
        refused={full: Refused(since_ns=9, requests=2)},
    )
    two = Counts(
        ended={chat: ended(20, since_ns=3, prompt_tokens=4), other: ended(1)},
        refused={full: Refused(since_ns=4, requests=1)},
    )
    for _ in range(2):
        whole = total([one, two])
        assert whole.ended[chat] == ended(10, 40 * 10**6, 20, since_ns=3, prompt_tokens=7)
        assert whole.ended[other] == ended(1)
        assert whole.refused[full] == Refused(since_ns=4, requests=3)
    assert whole.by_model()["m"].requests == 4
    assert one.ended[chat].requests == 2


@pytest.mark.parametrize("count", [0, 1])
def test_the_sum_of_one_or_none(count):
    part = Counts(ended={("chat", "m", "completed"): ended(1)})
    assert len(total([part] * count).ended) == count


def test_checks_and_findings_add_up_over_processes():
    one = Counts(checked={("n", "honest"): Seen(since_ns=10**9, times=2)})
    other = Counts(
        checked={("n", "honest"): Seen(since_ns=2 * 10**9, times=3)},
        findings={("n", "impossible"): Seen(since_ns=10**9, times=1)},
    )
    lines = exposed(total([one, other]))
    assert 'tollgate_recounts_total{node="n",result="honest"} 5.0' in lines
    assert 'tollgate_recounts_created{node="n",result="honest"} 1.0' in lines
    assert 'tollgate_findings_total{kind="impossible",node="n"} 1.0' in [
        line.replace('node="n",kind="impossible"', 'kind="impossible",node="n"') for line in lines
    ]
    assert one.checked["n", "honest"].times == 2
    assert not any("tollgate_findings" in line for line in exposed(one))

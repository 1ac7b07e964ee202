"""Counts that add up, and what Prometheus is told of them."""

from __future__ import annotations

import random
from bisect import bisect_left

import pytest
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

from gateway.telemetry.counts import DURATION_BOUNDS_NS, Counts, Ended, Seen, Served, total
from gateway.telemetry.exposition import families
from gateway.telemetry.node_metrics import FINDINGS, NODES_MAX, RECOUNTS
from gateway.telemetry.traffic_metrics import REFUSALS
from metering.charge import ChargeOutcome


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
        ["model", "key_class"],
        buckets=[bound_ns / 1e9 for bound_ns in DURATION_BOUNDS_NS],
        registry=registry,
    )
    requests = Counter(
        "tollgate_requests",
        "Inference requests that were admitted, by how they ended",
        ["endpoint", "model", "outcome", "key_class"],
        registry=registry,
    )
    rng = random.Random(3)
    exact = [*DURATION_BOUNDS_NS, *(bound_ns + 1 for bound_ns in DURATION_BOUNDS_NS)]
    durations_ns = exact + [rng.randrange(10**6, 10**13) for _ in range(200)]
    for duration_ns in durations_ns:
        histogram.labels("m", "direct").observe(duration_ns / 1e9)
        requests.labels("chat", "m", "completed", "direct").inc()
    mine = exposed(Counts(ended={("chat", "m", "completed", "direct"): ended(*durations_ns)}))
    theirs = generate_latest(registry).decode().splitlines()
    told = [line for line in theirs if "_created{" not in line and "_sum{" not in line]
    assert len(told) > len(DURATION_BOUNDS_NS)
    assert [line for line in told if line not in mine] == []
    (sum_s,) = [line.split()[1] for line in mine if "duration_seconds_sum" in line]
    assert float(sum_s) == sum(durations_ns) / 1e9


def test_cost_is_exact_however_many_are_added():
    counts = Counts(ended={("chat", "m", "completed", "direct"): ended(charged=3, cost_nano_usd=0)})
    for _ in range(100_000):
        counts.ended["chat", "m", "completed", "direct"].cost_nano_usd += 3_200
    assert 'tollgate_cost_usd_total{key_class="direct",model="m"} 0.32' in exposed(counts)


def test_a_series_is_there_from_its_first_event_on():
    uncharged = exposed(Counts(ended={("chat", "m", "no_capacity", "direct"): ended(5)}))
    labels = 'endpoint="chat",key_class="direct",model="m",outcome="no_capacity"'
    assert f"tollgate_requests_total{{{labels}}} 1.0" in uncharged
    for absent in ("tokens", "cost_usd", "failovers", "time_to_first_token", "inter_token"):
        assert not [line for line in uncharged if line.startswith(f"tollgate_{absent}_")]


def test_parts_add_up_and_stay_as_they_are():
    chat, other = ("chat", "m", "completed", "direct"), ("chat", "m", "client_gone", "direct")
    full = (REFUSALS.name, "chat", "429", "no_capacity", "m")
    one = Counts(
        ended={chat: ended(10, 40 * 10**6, since_ns=5, prompt_tokens=3)},
        events={full: Seen(since_ns=9, times=2)},
    )
    two = Counts(
        ended={chat: ended(20, since_ns=3, prompt_tokens=4), other: ended(1)},
        events={full: Seen(since_ns=4, times=1)},
    )
    for _ in range(2):
        whole = total([one, two])
        assert whole.ended[chat] == ended(10, 40 * 10**6, 20, since_ns=3, prompt_tokens=7)
        assert whole.ended[other] == ended(1)
        assert whole.events[full] == Seen(since_ns=4, times=3)
    assert whole.by_model()["m"].requests == 4
    assert one.ended[chat].requests == 2


@pytest.mark.parametrize("count", [0, 1])
def test_the_sum_of_one_or_none(count):
    part = Counts(ended={("chat", "m", "completed", "direct"): ended(1)})
    assert len(total([part] * count).ended) == count


def test_checks_and_findings_add_up_over_processes():
    one, other = Counts(), Counts()
    for counts, at_ns, times in ((one, 10**9, 2), (other, 2 * 10**9, 3)):
        for _ in range(times):
            counts.see(RECOUNTS.name, ("n", "honest"), at_ns)
    other.see(FINDINGS.name, ("n", "impossible"), 10**9)
    lines = exposed(total([one, other]))
    assert 'tollgate_recounts_total{node="n",result="honest"} 5.0' in lines
    assert 'tollgate_recounts_created{node="n",result="honest"} 1.0' in lines
    assert 'tollgate_findings_total{kind="impossible",node="n"} 1.0' in lines
    assert not any("tollgate_findings" in line for line in exposed(one))


def test_nodes_add_up_over_processes_by_supplier_and_result():
    of_node, parts = ("n", "s", "m"), []
    for outcome, tokens in ((ChargeOutcome.COMPLETED, 7), (ChargeOutcome.NODE_BROKEN, 5)):
        served = Served(since_ns=10**9, completion_tokens=tokens, ttft_ns=10**9, ttft_count=1)
        served.end(outcome)
        parts.append(Counts(served={of_node: served}))
    lines = exposed(total(parts))
    node = 'model="m",node="n"'
    for result in ("ok", "failed"):
        labels = f'{node},result="{result}",supplier="s"'
        assert f"tollgate_node_requests_total{{{labels}}} 1.0" in lines
    assert f'tollgate_node_tokens_total{{kind="completion",{node},supplier="s"}} 12.0' in lines
    ttft = "tollgate_node_time_to_first_token_seconds"
    assert f'{ttft}_sum{{{node},supplier="s"}} 2.0' in lines
    assert f'{ttft}_count{{{node},supplier="s"}} 2.0' in lines


def test_nodes_beyond_the_cap_go_under_one_name():
    """Suppliers enrol nodes: names that come and go must not fill Prometheus."""
    counts = Counts()
    for number in range(NODES_MAX + 50):
        counts.see(FINDINGS.name, (f"n{number}", "impossible"), 1)
        counts.new_served((f"n{number}", "s", "m"), 1).end(ChargeOutcome.COMPLETED)
    lines = exposed(counts)
    assert 'tollgate_findings_total{kind="other",node="other"} 50.0' in lines
    others = 'model="other",node="other",result="ok",supplier="other"'
    assert f"tollgate_node_requests_total{{{others}}} 50.0" in lines
    assert sum(line.startswith("tollgate_node_requests_total") for line in lines) == NODES_MAX + 1
    counts.see(RECOUNTS.name, ("n", "honest"), 1)  # another metric has room of its own
    assert 'tollgate_recounts_total{node="n",result="honest"} 1.0' in exposed(counts)

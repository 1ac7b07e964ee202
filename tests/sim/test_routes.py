"""Policies in simulated worlds: that the worlds repeat, and the bars on a short run."""

from random import Random

import pytest

from router.simulator.bars import bars
from router.simulator.compare import play
from router.simulator.contenders import CONTENDERS
from router.simulator.job import Job
from router.simulator.scenario import SCENARIOS

REQUESTS, NODES = 500, 12


@pytest.fixture(scope="module")
def trace() -> list[Job]:
    """Lengths as in Azure's conversations: most prompts short, a few long."""
    chance = Random(11)
    now_ns, jobs = 0, []
    for number in range(3 * REQUESTS):
        now_ns += int(chance.expovariate(5.0) * 1e9)
        jobs.append(
            Job(
                job_id=number,
                arrival_ns=now_ns,
                prompt_tokens=min(int(chance.lognormvariate(6.6, 1.0)) + 10, 14_000),
                output_tokens=min(int(chance.lognormvariate(4.9, 0.9)) + 2, 1_000),
            )
        )
    return jobs


@pytest.mark.parametrize("policy", CONTENDERS)
def test_the_same_seed_makes_the_same_world(policy: str, trace: list[Job]) -> None:
    played = [
        play(policy, SCENARIOS["failures"], trace, seed=4, requests=150, nodes=8) for _ in range(2)
    ]
    assert played[0].figures == played[1].figures
    assert played[0].outcomes == played[1].outcomes
    other = play(policy, SCENARIOS["failures"], trace, seed=5, requests=150, nodes=8)
    assert other.figures != played[0].figures


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_every_request_ends_once(scenario: str, trace: list[Job]) -> None:
    result = play("tollgate", SCENARIOS[scenario], trace, seed=1, requests=300, nodes=8)
    told = result.figures
    assert len(result.outcomes) == told.requests == 270
    for each in result.outcomes:
        if each.e2e_ns is not None:
            assert each.ttft_ns is not None
            assert 0 < each.ttft_ns <= each.e2e_ns
    whole = sum(each.e2e_ns is not None for each in result.outcomes)
    assert whole + told.failed + told.refused == told.requests
    assert told.refused == 0 or scenario in ("overload", "bursty", "failures")


@pytest.mark.parametrize("scenario", ["steady", "wan", "stragglers", "overload"])
def test_the_policy_reaches_its_bars(scenario: str, trace: list[Job]) -> None:
    policies = ("oracle", "tollgate", "least-in-flight", "power-of-two")
    measured = [
        play(policy, SCENARIOS[scenario], trace, seed=seed, requests=REQUESTS, nodes=NODES).figures
        for policy in policies
        for seed in range(3)
    ]
    (held,) = bars(measured)
    assert held.baselines_differ
    assert held.to_baseline <= 0.7
    assert held.goodput_to_oracle >= 0.9
    assert held.load_max <= 2.0
    assert held.to_oracle <= 1.5, "1.25 holds over 2,000 requests: tollgate route simulate"


def test_prefixes_are_found_again(trace: list[Job]) -> None:
    told = play(
        "tollgate", SCENARIOS["prefix-heavy"], trace, seed=2, requests=REQUESTS, nodes=NODES
    ).figures
    assert told.prefix_hit_ratio >= 0.85 * told.infinite_cache_hit_ratio > 0.2


def test_liars_gain_nothing_by_their_counters(trace: list[Job]) -> None:
    told, misled = (
        play(policy, SCENARIOS["liars"], trace, seed=3, requests=REQUESTS, nodes=NODES).figures
        for policy in ("tollgate", "llm-d")
    )
    assert told.ttft_p99_ms < 0.5 * misled.ttft_p99_ms


def test_a_supplier_with_half_of_the_nodes_gets_no_more_than_its_share(trace: list[Job]) -> None:
    shares = {
        policy: play(
            policy, SCENARIOS["concentrated"], trace, seed=1, requests=400, nodes=8
        ).figures.supplier_share_max
        for policy in ("tollgate", "diverse")
    }
    assert shares["diverse"] < 0.45
    assert shares["tollgate"] > 0.7

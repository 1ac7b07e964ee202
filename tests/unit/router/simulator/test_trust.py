"""Liars in simulated worlds are below the bound within 200 requests, honest nodes never."""

from __future__ import annotations

import pytest

from router.simulator.trust import LIARS, NODES, WITHIN, trial

SEEDS = 3
STARVED = {"tollgate": 0, "free-share": 10}
"""Of 9,000 requests: whoever gets fewer for his reputation need not be below the bound."""


@pytest.mark.parametrize("policy", ["tollgate", "free-share"])
def test_liars_are_found_in_time_and_honest_nodes_are_left_alone(policy):
    wrongly, late, found = 0, 0, dict.fromkeys(LIARS, 0)
    for seed in range(SEEDS):
        for node in trial(seed, requests=9_000, policy=policy):
            if node.node_id not in LIARS:
                wrongly += node.below_after is not None
            elif node.in_time or node.requests < STARVED[policy]:
                found[node.node_id] += 1
            else:
                late += node.requests >= WITHIN
    assert wrongly == 0
    assert late == 0
    assert found == dict.fromkeys(LIARS, SEEDS)
    assert 4 * len(LIARS) < NODES


def test_the_same_seed_is_the_same_world():
    assert trial(5, requests=300) == trial(5, requests=300)

"""Liars on real sockets: below the bound within 200 requests, and honest nodes above it."""

from __future__ import annotations

import asyncio
import random

import pytest
from served import configuration, sample_sum, serve
from word_tokenizer import WORDS, write_word_tokenizer

from gateway.admission.ids import Ids
from gateway.canaries.canaries import Canaries
from gateway.canaries.config import CanariesConfig
from serving.fake_faults import Fault
from serving.fake_node import FakeNode
from serving.simulated_engine import Pace

pytestmark = pytest.mark.anyio
BOUND, WITHIN = 900, 200
AT_ONCE, CANARY_EVERY = 4, 5
IDLE_TIMEOUT = "node_idle_timeout_s = 1"
KINDS = ("inflates", "smaller", "stalls", "slow", "honest", "honest")
LIARS = {
    "inflates": Fault(inflate_usage_percent=10),
    "smaller": Fault(other_model=True),
    "stalls": Fault(stall_after_events=5, every=20),
}


def chat(rng: random.Random, supplier: str) -> dict:
    return {
        "model": "fake",
        "messages": [{"role": "user", "content": " ".join(rng.choices(WORDS, k=20))}],
        "max_tokens": rng.randrange(24, 64),
        "stream": True,
        "provider": {"only": [supplier]},
    }


async def reputations(served) -> dict[str, float]:
    told = (await served.client.get("/metrics")).text
    names = [f"node-{number}" for number in range(len(KINDS))]
    return {name: sample_sum(told, "tollgate_node_reputation", {"node": name}) for name in names}


def canaries_of(served) -> Canaries:
    """The gateway's own, but that the test says when: a fast machine asks 200 questions before the
    second round of a clock, and on any a canary may be the stream that stalls.
    """
    gateway = served.server._gateway
    return Canaries(
        CanariesConfig(node_interval_s=0, nodes_max=len(KINDS)),
        router=gateway._router,
        upstream=gateway._upstream,
        models=["fake"],
        count=gateway._telemetry.canary,
        measure=gateway._telemetry.canary_gap,
        request_id=Ids().request_id,
        rng=random.Random(2),
    )


async def ask(served, rng: random.Random, name: str) -> int:
    """A stream that stalls ends with an error: no matter."""
    supplier = name.replace("node", "supplier")
    answer = await served.client.post("/v1/chat/completions", json=chat(rng, supplier))
    return answer.status_code


@pytest.mark.parametrize("policy", ["free-share", "forecast"])
async def test_liars_are_found_and_honest_nodes_are_not(tmp_path, monkeypatch, policy):
    monkeypatch.setattr("gateway.canaries.canaries.APART_S", 0.0)
    nodes = [FakeNode(pace=Pace(ttft_ms=60 * (kind == "slow"))) for kind in KINDS]
    await asyncio.gather(*(node.start() for node in nodes))
    for node, kind in zip(nodes, KINDS, strict=True):
        await node.inject(LIARS.get(kind, Fault()))
    tokenizer = write_word_tokenizer(tmp_path / "tokenizer.json")
    config = configuration(
        nodes,
        capacity=32,
        server=IDLE_TIMEOUT,
        node="trusted = false\n",
        model=f'tokenizer_file = "{tokenizer}"\n[router]\npolicy = "{policy}"\n',
    )
    rng, below = random.Random(1), dict[str, int]()
    async with serve(tmp_path, config) as served:
        canaries = canaries_of(served)
        for turn in range(WITHIN // AT_ONCE):
            if turn % CANARY_EVERY == 0:
                await canaries.round("fake")
            scores = await reputations(served)
            for name, score in scores.items():
                if score < BOUND:
                    below.setdefault(name, len(nodes[int(name[-1])].received))
            if len(below) == len(LIARS):
                break
            asked = [name for name in scores if name not in below for _ in range(AT_ONCE)]
            await asyncio.gather(*(ask(served, rng, name) for name in asked))
        statuses = [await ask(served, rng, name) for name in scores]
    for node in nodes:
        await node.stop()
    assert set(below) == {"node-0", "node-1", "node-2"}, (below, scores)
    assert max(below.values()) <= WITHIN, below
    assert min(score for name, score in scores.items() if name not in below) > BOUND
    assert statuses[len(LIARS) :] == [200] * 3
    assert 200 not in statuses[: len(LIARS)], "customers' requests went to who is below the bound"

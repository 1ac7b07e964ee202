"""What it takes to choose a node, to count the request and to learn from its end."""

from __future__ import annotations

import random
import time
from collections import deque

import msgspec

from router.policy import Policy, learned_policy
from router.registry import Registry
from router.router import Lease, Router
from router.types import Load, NodeRecord, RequestFeatures, Termination

_MS = 1_000_000
_PROMPTS = 300
_BLOCKS = 8
_ROUNDS = 5


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """CPU of one request in us; the best of some rounds."""

    policy: str
    nodes: int
    choose_us: float
    whole_us: float
    """choose, start, first_token and finish."""


def measure_choices(nodes: int, requests: int = 1000) -> list[Cost]:
    """Of each policy over so many nodes, two requests running on each."""
    return [
        _cost("free-share", Policy(), nodes, 0, requests),
        _cost("forecast", learned_policy(), nodes, 0, requests),
        _cost("forecast, prompts of 8 blocks", learned_policy(), nodes, _BLOCKS, requests),
        _cost("the same, loads read", learned_policy(), nodes, _BLOCKS, requests, loads=True),
    ]


def _cost(
    name: str, policy: Policy, nodes: int, blocks: int, requests: int, *, loads: bool = False
) -> Cost:
    router, running, now_ns = _router(policy, nodes), deque[Lease](), 0
    asks = [_features(number, blocks) for number in range(_PROMPTS)]
    wholes, choices = [], []
    for round_ in range(_ROUNDS + 1):
        if loads:
            _read_loads(router, now_ns)
        began = time.process_time_ns()
        for number in range(2 * nodes if round_ == 0 else requests):
            now_ns += _MS
            running.append(router.start(router.choose(asks[number % _PROMPTS], now_ns)))
            if round_:
                oldest = running.popleft()
                oldest.first_token(now_ns)
                oldest.finish(Termination.COMPLETED, now_ns + _MS, _MS, 200)
        wholes.append((time.process_time_ns() - began) / requests / 1e3)
        began = time.process_time_ns()
        for number in range(requests):
            router.choose(asks[number % _PROMPTS], now_ns)
        choices.append((time.process_time_ns() - began) / requests / 1e3)
    return Cost(
        policy=name,
        nodes=nodes,
        choose_us=round(min(choices[1:]), 1),
        whole_us=round(min(wholes[1:]), 1),
    )


def _router(policy: Policy, nodes: int) -> Router:
    registry = Registry()
    registry.update(
        "bench",
        [
            NodeRecord(
                node_id=f"node-{number}",
                supplier_id=f"supplier-{number % 7}",
                url="http://node",
                model="m",
                capacity=256,
            )
            for number in range(nodes)
        ],
    )
    return Router(registry, policy, random.Random(1))


def _read_loads(router: Router, now_ns: int) -> None:
    """Each node has two requests more than are ours, and one that waits."""
    for view in router.nodes(now_ns):
        load = Load(waiting=1, running=view.in_flight + 2, kv_use=0.3, kv_tokens=100_000)
        router.report_load(view.node.node_id, load)


def _features(number: int, blocks: int) -> RequestFeatures:
    return RequestFeatures(
        model="m",
        prompt_tokens=1_000,
        completion_tokens_max=500,
        stream=True,
        blocks=tuple(hash((number, block)) for block in range(blocks)),
        block_tokens=128,
    )

"""Canaries: nodes of one model are asked the same, and who answers otherwise serves another model.

round    one model in turn, the idle nodes that were not asked longest, a trusted one among them
differs  asked once more, something else, with those it is compared with: twice is evidence
disputed two answers and nobody to say which is right: told in the log, held against nobody
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from enum import StrEnum
from random import Random

from gateway.canaries.asker import Asker
from gateway.canaries.config import CanariesConfig
from gateway.canaries.greedy import Asked, Likeness, gaps_nats, quote, read_greedy, verdicts
from gateway.canaries.prompts import question
from gateway.nodes.upstream import Upstream
from router.reputation import Evidence
from router.router import Router
from router.types import Condition, NodeRecord, NodeView

log = logging.getLogger("tollgate")

TIMEOUT_S = 120.0
APART_S = 0.5
"""Nodes that compare what they are asked, and when, should not see it at one instant."""
_NS = 10**9


class Result(StrEnum):
    """What came of one canary."""

    PASSED = "passed"
    FAILED = "failed"
    UNSURE = "unsure"
    """It cannot be told, or a second one did not say the same."""
    DISPUTED = "disputed"
    UNANSWERED = "unanswered"


class Canaries:
    """`models`: those that chat. `count` hears of each canary its node and a `Result`, `measure`
    its node and how far its logprobs were from the right ones, in nats.
    """

    def __init__(
        self,
        config: CanariesConfig,
        *,
        router: Router,
        upstream: Upstream,
        models: Iterable[str],
        count: Callable[[str, str], None],
        measure: Callable[[str, float], None],
        request_id: Callable[[], str],
        rng: Random | None = None,
    ) -> None:
        self._config = config
        self._router = router
        self._models = sorted(models)
        self._count = count
        self._measure = measure
        self._request_id = request_id
        self._rng = rng or Random()
        self._asker = Asker(router, upstream, TIMEOUT_S)
        self._asked_ns: dict[str, int] = {}
        """By node: when it was asked last."""
        self._turn = 0

    async def run(self) -> None:
        """For the gateway's lifetime."""
        while True:
            await asyncio.sleep(self._config.interval_s * self._rng.uniform(0.5, 1.5))
            if self._models:
                self._turn = (self._turn + 1) % len(self._models)
                await self.round(self._models[self._turn])

    async def round(self, model: str) -> dict[str, Result]:
        """What came of it, by node id; empty if there are not two to be compared."""
        chosen = self._chosen(model, time.monotonic_ns())
        if len(chosen) < 2:
            return {}
        results = await self._ask(model, chosen)
        different = {node_id for node_id, each in results.items() if each is Result.FAILED}
        if different:
            again = await self._ask(model, chosen)
            for node_id in different:
                if again.get(node_id) is not Result.FAILED:
                    results[node_id] = Result.UNSURE
        for node in chosen:
            self._tell(node, results[node.node_id])
        return results

    def _tell(self, node: NodeRecord, result: Result) -> None:
        self._count(node.node_id, result)
        now_ns = time.monotonic_ns()
        if result is Result.PASSED:
            self._router.report(node.node_id, Evidence.CANARY_PASSED, now_ns)
        elif result is Result.FAILED:
            self._router.report(node.node_id, Evidence.CANARY_FAILED, now_ns)
            self._asked_ns.pop(node.node_id, None)  # and again in the next round
            log.warning(
                "node %s (supplier %s) answers otherwise than others that serve %s",
                node.node_id,
                node.supplier_id,
                node.model,
            )

    def _chosen(self, model: str, now_ns: int) -> list[NodeRecord]:
        """One that is trusted, if there is one, and those that were not asked for longest."""
        views = [view for view in self._router.nodes(now_ns) if view.node.model == model]
        self._forget({view.node.node_id for view in self._router.nodes(now_ns)})
        idle = [view.node for view in views if _is_idle(view, now_ns)]
        self._rng.shuffle(idle)
        trusted = [node for node in idle if node.trusted][:1]
        before_ns = now_ns - self._config.node_interval_s * _NS
        due = [
            node
            for node in idle
            if not node.trusted and self._asked_ns.get(node.node_id, before_ns) <= before_ns
        ]
        if not due:
            return []
        due.sort(key=lambda node: self._asked_ns.get(node.node_id, -1))
        chosen = [*trusted, *due][: self._config.nodes_max]
        if len(chosen) < min(3, len(idle)):  # with two alone nobody could say who is right
            rest = [node for node in idle if node not in chosen]
            chosen += rest[: 3 - len(chosen)]
        for node in chosen:
            self._asked_ns[node.node_id] = now_ns
        return chosen

    def _forget(self, listed: set[str]) -> None:
        for node_id in self._asked_ns.keys() - listed:
            del self._asked_ns[node_id]

    async def _ask(self, model: str, nodes: list[NodeRecord]) -> dict[str, Result]:
        asked = question(self._rng, model)
        account = f"acct-{self._rng.getrandbits(48):012x}"

        async def one(node: NodeRecord) -> bytes | None:
            await asyncio.sleep(self._rng.uniform(0.0, APART_S))
            return await self._asker.ask(node, asked, account, self._request_id())

        bodies = await asyncio.gather(*(one(node) for node in nodes))
        answers: dict[str, Asked] = {}
        for node, body in zip(nodes, bodies, strict=True):
            answer = read_greedy(body, stream=bool(asked.get("stream"))) if body else None
            if answer is not None:
                answers[node.node_id] = Asked(
                    supplier_id=node.supplier_id, trusted=node.trusted, answer=answer
                )
        return self._judged(model, nodes, answers)

    def _judged(
        self, model: str, nodes: list[NodeRecord], answers: dict[str, Asked]
    ) -> dict[str, Result]:
        found = verdicts(answers, self._config.logprob_gap_max)
        if len(answers) > 1 and not found:
            log.warning("answers of %s differ, and nobody can say whose: %s", model, quote(answers))
        for node_id, gap in gaps_nats(answers, self._config.logprob_gap_max).items():
            self._measure(node_id, gap)
        results = {}
        for node in nodes:
            likeness = found.get(node.node_id)
            if node.node_id not in answers:
                results[node.node_id] = Result.UNANSWERED
            elif likeness is not None:
                results[node.node_id] = _RESULTS[likeness]
            else:
                results[node.node_id] = Result.PASSED if found else Result.DISPUTED
        return results


_RESULTS = {
    Likeness.SAME: Result.PASSED,
    Likeness.DIFFERENT: Result.FAILED,
    Likeness.UNSURE: Result.UNSURE,
}


def _is_idle(view: NodeView, now_ns: int) -> bool:
    """It has room, so that no customer waits for a canary."""
    return view.condition(now_ns) is Condition.READY and view.in_flight * 2 < view.node.capacity

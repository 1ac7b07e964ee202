"""A share of the finished answers, counted again off the event loop.

    admission   sample(node) -> Sample or None      by chance, so that no node can tell which
    exchange    keeps the node's bytes in it        not sampled: one `is None` an event
    its end     ended(exchange) -> queue            bounded; what does not fit is counted
    run()       a thread counts                     findings, and checks that were passed

All of a node's first answers are checked, and all again after a finding: who begins with a lie is
found within `ALL_ANSWERS` checks. Checks take at most `CPU_SHARE` of a core, whatever comes: while
as many wait as may, no further answer is sampled.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable, Collection
from enum import StrEnum
from math import log

from gateway.admission.catalogue import Catalogue
from gateway.exchange.exchange import Exchange
from gateway.exchange.sample import Sample, SampleRoom
from gateway.honesty.findings import Findings
from gateway.honesty.judge import Job, NodeChecks, impossible, judge
from metering.charge import ChargeOutcome
from metering.finding import Finding
from metering.stream_meter import MalformedStreamError
from metering.usage import Usage, UsageSource
from router.reputation import Evidence
from router.router import Router

ALL_ANSWERS = 200
ROOM_BYTES = 16 * 1024 * 1024
QUEUE_MAX = 256
CPU_SHARE = 0.02
BATCH = 8
"""Short answers judged in one visit to the thread: going there costs as much as judging one."""
BATCH_BYTES = 16 * 1024
"""No further answer is judged in a visit that has so much: the thread has the interpreter then, and
every stream waits. Eight streams of 128 events are 3.5 ms, one is 0.4.
"""
ALL_AGAIN_NS = 600_000_000_000
"""A node that lies in every answer is not checked in every answer: once in so long, all."""
IMPOSSIBLE_EVERY_NS = 1_000_000_000
"""What cannot be is looked for in every answer, but found at most so often in those of a node."""


_Check = tuple[Job, NodeChecks, Callable[[str], int] | None]


class Checked(StrEnum):
    """How a sample ended."""

    HONEST = "honest"
    FOUND = "found"
    UNREADABLE = "unreadable"
    """The answer is no JSON, though it passed for some: nothing can be counted."""
    DROPPED = "dropped"
    """There was no room for it."""


class _Node:
    __slots__ = ("all_left", "checks", "found_ns", "impossible_ns", "until_next")

    def __init__(self) -> None:
        self.all_left = ALL_ANSWERS
        """So many of its next answers are all checked."""
        self.until_next = 1
        """Answers until one is checked, that one included."""
        self.found_ns = -ALL_AGAIN_NS
        """When its answers were last begun to be checked all because of a finding."""
        self.impossible_ns = 0
        self.checks = NodeChecks()


class Recounts:
    """Lives on the event loop, but for the counting itself."""

    def __init__(
        self,
        *,
        one_in: int,
        catalogue: Catalogue,
        findings: Findings,
        router: Router,
        count: Callable[[str, str], None],
        rng: random.Random,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        """`one_in` 0: nothing is sampled. `count` hears of each sample its node and a `Checked`."""
        self._one_in = one_in
        self._catalogue = catalogue
        self._findings = findings
        self._router = router
        self._count = count
        self._rng = rng
        self._clock_ns = clock_ns
        self._nodes: dict[str, _Node] = {}
        self._room = SampleRoom(ROOM_BYTES)
        self._queue: deque[tuple[Exchange, Sample]] = deque()
        self._wake = asyncio.Event()

    def sample(self, node_id: str) -> Sample | None:
        """Something to keep the next answer in, if it is to be checked. On every request's way."""
        if not self._one_in or len(self._queue) >= QUEUE_MAX:
            return None
        node = self._nodes.get(node_id) or self._known(node_id)
        node.until_next -= 1
        if node.until_next > 0:
            return None
        if node.all_left:
            node.all_left -= 1
            node.until_next = 1
        else:
            node.until_next = self._gap()
        return Sample(self._room)

    def _gap(self) -> int:
        """How long it is until the next, if each answer is sampled by chance: drawn once for all
        that are not, so that those cost a subtraction.
        """
        if self._one_in == 1:
            return 1
        return 1 + int(log(1.0 - self._rng.random()) / log(1.0 - 1.0 / self._one_in))

    def ended(self, exchange: Exchange) -> None:
        """Called once for every exchange, so this much is done here and no more."""
        usage, sample = exchange.usage, exchange.sample
        if usage is not None and self._one_in:
            most = exchange.first.ask.features
            if (
                usage.prompt_tokens > most.prompt_tokens
                or usage.completion_tokens > most.completion_tokens_max
            ) and exchange.usage_source is not UsageSource.ESTIMATED:
                self._impossible(exchange, usage)
        if sample is None or not sample.recount:
            return
        of_node = exchange.usage_source is UsageSource.NODE
        if exchange.outcome is not ChargeOutcome.COMPLETED or not of_node:
            sample.clear()
        elif len(self._queue) >= QUEUE_MAX or not sample.hold(exchange.question.body_bytes):
            sample.clear()
            self._count(exchange.attempt.node.node_id, Checked.DROPPED)
        else:
            self._queue.append((exchange, sample))
            self._wake.set()

    def _impossible(self, exchange: Exchange, usage: Usage) -> None:
        node, now_ns = self._known(exchange.attempt.node.node_id), self._clock_ns()
        if now_ns - node.impossible_ns >= IMPOSSIBLE_EVERY_NS:
            node.impossible_ns = now_ns
            self._found(impossible(exchange, usage, now_ns))
            self._wake.set()

    def _known(self, node_id: str) -> _Node:
        node = self._nodes.get(node_id)
        if node is None:  # another than was first tried, or one that is delisted by now
            node = self._nodes[node_id] = _Node()
        return node

    def forget(self, known: Collection[str]) -> None:
        """Let go of what was learned of other nodes than these."""
        for node_id in [node_id for node_id in self._nodes if node_id not in known]:
            del self._nodes[node_id]

    async def run(self) -> None:
        """Runs for the gateway's lifetime."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._queue:
                cpu_s = await self._check(self._batch())
                await asyncio.sleep(cpu_s / CPU_SHARE - cpu_s)
            await self._findings.write()

    def _batch(self) -> list[tuple[Exchange, Sample]]:
        """What one visit to the thread judges."""
        batch: list[tuple[Exchange, Sample]] = []
        size_bytes = 0
        while self._queue and len(batch) < BATCH and size_bytes < BATCH_BYTES:
            batch.append(self._queue.popleft())
            size_bytes += batch[-1][1].size_bytes
        return batch

    async def _check(self, ended: list[tuple[Exchange, Sample]]) -> float:
        """The seconds of CPU that it took."""
        checks = [self._made_ready(exchange, sample) for exchange, sample in ended]
        results, cpu_s = await asyncio.to_thread(_judged, checks, self._clock_ns)
        for (exchange, _), findings in zip(ended, results, strict=True):
            self._heard(exchange.attempt.node.node_id, findings)
        return cpu_s

    def _made_ready(self, exchange: Exchange, sample: Sample) -> _Check:
        node, usage = exchange.attempt.node, exchange.usage
        assert usage is not None
        job = Job(
            request_id=exchange.charge.request_id,
            node=node,
            question=exchange.question,
            usage=usage,
            answer=sample.answer,
        )
        sample.clear()
        model = self._catalogue.get(node.model)
        counter = model.counter if model is not None else None
        return job, self._known(node.node_id).checks, None if counter is None else counter.count

    def _heard(self, node_id: str, findings: list[Finding] | None) -> None:
        if findings is None:
            self._count(node_id, Checked.UNREADABLE)
            return
        self._count(node_id, Checked.FOUND if findings else Checked.HONEST)
        if not findings:
            self._router.report(node_id, Evidence.COUNT_PASSED, time.monotonic_ns())
        for finding in findings:
            self._found(finding)

    def _found(self, finding: Finding) -> None:
        known = self._known(finding.node_id)
        if finding.found_ns - known.found_ns >= ALL_AGAIN_NS:
            known.found_ns = finding.found_ns
            known.all_left, known.until_next = ALL_ANSWERS, 1
        self._findings.take(finding)


def _judged(
    checks: list[_Check], clock_ns: Callable[[], int]
) -> tuple[list[list[Finding] | None], float]:
    """What was found in each, None if it cannot be read; and the seconds of CPU it took."""
    begun_s = time.thread_time()
    results: list[list[Finding] | None] = []
    for job, of_node, count in checks:
        try:
            results.append(judge(job, of_node, count, clock_ns()))
        except MalformedStreamError:
            results.append(None)
    return results, time.thread_time() - begun_s

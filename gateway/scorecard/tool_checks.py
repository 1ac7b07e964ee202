"""Answers to requests with tools, kept and handed to the process that judges their calls.

admission   sample(question) -> Sample or None   a request without tools is not asked for one
exchange    keeps the node's bytes in it
its end     ended(exchange) -> queue             bounded; what does not fit is counted UNCHECKED
run()       one at a time to `tool_judge.py`, which is started for the first
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections import deque
from collections.abc import Callable
from pathlib import Path

import msgspec

from gateway.exchange.exchange import Exchange
from gateway.exchange.sample import Sample, SampleRoom
from gateway.openai.request import Question
from gateway.openai.schema import ChatRequest
from gateway.scorecard.rules import ToolEnd
from gateway.scorecard.tool_job import LENGTH, NO_CALLS, Job
from metering.charge import ChargeOutcome

ROOM_BYTES = 16 * 1024 * 1024
QUEUE_MAX = 256
JUDGE_TIMEOUT_S = 5.0
"""The process ends itself long before, unless the machine is busy."""

_encode = msgspec.msgpack.Encoder().encode


class ToolChecks:
    """Lives on the event loop; `count` hears of each request its model and what came of it."""

    def __init__(self, count: Callable[[str, ToolEnd], None]) -> None:
        self._count = count
        self._room = SampleRoom(ROOM_BYTES)
        self._queue: deque[tuple[str, bytes]] = deque()
        self._wake = asyncio.Event()
        self._judge: Process | None = None

    def sample(self) -> Sample:
        return Sample(self._room, recount=False)

    def ended(self, exchange: Exchange) -> None:
        """Called once for every exchange."""
        question, sample = exchange.question, exchange.sample
        if not question.offers_tools or sample is None:
            return
        if exchange.outcome is ChargeOutcome.COMPLETED and not question.batch:
            if sample.lost or len(self._queue) >= QUEUE_MAX:
                self._count(question.model, ToolEnd.UNCHECKED)
            else:
                self._queue.append((question.model, _encode(_job(question, sample.answer))))
                self._wake.set()
        if not sample.recount:
            sample.clear()

    async def run(self) -> None:
        """Runs for the gateway's lifetime."""
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                while self._queue:
                    model, job = self._queue.popleft()
                    verdict = await self._judged(job)
                    if verdict is not None:
                        self._count(model, verdict)
        finally:
            await self._end_judge()

    async def _judged(self, job: bytes) -> ToolEnd | None:
        """None if the answer had no calls."""
        if self._judge is None:
            self._judge = await _start()
        stdin, stdout = self._judge.stdin, self._judge.stdout
        assert stdin is not None
        assert stdout is not None
        try:
            async with asyncio.timeout(JUDGE_TIMEOUT_S):
                stdin.write(LENGTH.pack(len(job)) + job)
                await stdin.drain()
                (verdict,) = await stdout.readexactly(1)
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            await self._end_judge()  # this job ended it, or kept it
            return ToolEnd.UNCHECKED
        return None if verdict == NO_CALLS else ToolEnd(verdict)

    async def _end_judge(self) -> None:
        judge, self._judge = self._judge, None
        if judge is not None:
            with contextlib.suppress(ProcessLookupError):
                judge.kill()
            await judge.wait()


def _job(question: Question, answer: bytes) -> Job:
    request = question.request
    assert isinstance(request, ChatRequest)
    tools = {tool.function.name: tool.function.parameters for tool in request.tools or ()}
    return Job(tools=tools, answer=answer, stream=question.stream)


async def _start() -> Process:
    root = str(Path(__file__).parents[2])
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",
        "-m",
        "gateway.scorecard.tool_judge",
        stdin=PIPE,
        stdout=PIPE,
        env={**os.environ, "PYTHONPATH": path},
        start_new_session=True,
    )

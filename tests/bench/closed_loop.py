"""So many connections, each asking again as soon as it was answered: whole answers or streams."""

from __future__ import annotations

import asyncio
from array import array

from .arithmetic import percentiles_ms
from .asker import Asker, request
from .job import Counted, Job, Report
from .node_bytes import WHOLE_TOKENS
from .shape import tokens_of
from .window import Window

END_S = 60.0
"""How long answers may take to end once the window is over."""
RETRY_S = 0.05


class ClosedLoop:
    """An `asker.Owner`."""

    def __init__(self, job: Job) -> None:
        self._job = job
        target = job.target
        self._request = request(target.port, target.path, target.headers, target.model, job.shape)
        self._tokens = WHOLE_TOKENS if job.shape is None else job.shape.tokens
        self._window = Window(target)
        self._counted = Counted()
        self._askers: set[Asker] = set()
        self._connecting: set[asyncio.Task[None]] = set()
        self._leaving = False
        self._all_idle = asyncio.Event()
        self._answers = self._events = self._reads = 0
        self._latency_s, self._ttft_s, self._gap_s = array("d"), array("d"), array("d")

    async def run(self) -> Report:
        """Connect one by one over half of the warm-up, measure, leave no request behind."""
        job = self._job
        for _ in range(job.connections):
            self._connect()
            await asyncio.sleep(job.warm_s / 2 / job.connections)
        await asyncio.sleep(job.warm_s / 2)
        self._window.open()
        await asyncio.sleep(job.window_s)
        self._window.close()
        await self._leave()
        return self._report()

    # -- Owner ------------------------------------------------------------------------------------

    def events(self, asker: Asker, count: int, now_s: float) -> None:
        if self._window.is_open:
            self._events += count
            self._reads += 1
            if asker.heard_s:
                self._gap_s.append(now_s - asker.heard_s)
            else:
                self._ttft_s.append(now_s - asker.asked_s)
        elif self._leaving and self._job.cut:
            asyncio.get_running_loop().call_soon(self._cut, asker)

    def answered(self, asker: Asker, now_s: float) -> None:
        shape = self._job.shape
        good = asker.good and (shape is None or asker.heard_events == shape.events)
        if good:
            self._counted.finished += 1
            self._counted.finished_tokens += self._tokens
        else:
            self._counted.failed += 1
        if self._window.is_open and good:
            self._answers += 1
            self._latency_s.append(now_s - asker.asked_s)
        if self._leaving:
            self._check_idle()
        elif good:
            self._ask(asker)
        else:
            asyncio.get_running_loop().call_later(RETRY_S, self._ask, asker)

    def lost(self, asker: Asker) -> None:
        self._askers.discard(asker)
        if asker.busy:
            self._counted.failed += 1
        if not self._leaving:
            self._connect()
        else:
            self._check_idle()

    # -- inside -----------------------------------------------------------------------------------

    def _connect(self) -> None:
        task = asyncio.get_running_loop().create_task(self._connect_and_ask())
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    async def _connect_and_ask(self) -> None:
        loop, port = asyncio.get_running_loop(), self._job.target.port
        try:
            _, asker = await loop.create_connection(lambda: Asker(self), "127.0.0.1", port)
        except OSError:
            self._counted.failed += 1
            await asyncio.sleep(RETRY_S)
            if not self._leaving:
                self._connect()
            return
        self._askers.add(asker)
        self._ask(asker)

    def _ask(self, asker: Asker) -> None:
        if asker.transport is not None and not self._leaving:
            self._counted.sent += 1
            asker.ask(self._request)

    async def _leave(self) -> None:
        """Let answers end, or cut streams: each once its first event is there, for only then is it
        certain that the gateway took the request.
        """
        self._leaving = True
        for asker in list(self._askers):
            if self._job.cut and asker.heard_events:
                self._cut(asker)
        self._check_idle()
        try:
            await asyncio.wait_for(self._all_idle.wait(), END_S)
        except TimeoutError:
            self._counted.failed += sum(asker.busy for asker in self._askers)
        for asker in list(self._askers):
            asker.busy = False
            if asker.transport is not None:
                asker.transport.abort()

    def _cut(self, asker: Asker) -> None:
        if not asker.busy or asker.transport is None:
            return
        asker.busy = False
        self._counted.cut += 1
        self._counted.cut_tokens += tokens_of(asker.heard_events)
        asker.transport.abort()

    def _check_idle(self) -> None:
        if not any(asker.busy for asker in self._askers):
            self._all_idle.set()

    def _report(self) -> Report:
        window = self._window
        return Report(
            window_s=window.seconds,
            gateway_cpu_s=window.gateway_cpu_s,
            node_cpu_s=window.node_cpu_s,
            load_cpu_s=window.load_cpu_s,
            gateway_core_busy_s=window.gateway_core_busy_s,
            gateway_rss_mib=window.gateway_rss_mib,
            answers=self._answers,
            events=self._events,
            reads=self._reads,
            latency=percentiles_ms(self._latency_s),
            ttft=percentiles_ms(self._ttft_s),
            gap=percentiles_ms(self._gap_s),
            late=None,
            counted=self._counted,
        )

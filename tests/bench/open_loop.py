"""So many requests a second, whether or not the last ones were answered.

Latency counts from the moment a request was due, so that a stall shows in every request behind it.
The moments are kept by a thread of its own: timers of the event loop are rounded to milliseconds,
which is as long as what is measured.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from array import array

from .arithmetic import percentiles_ms
from .asker import Asker, request
from .job import Counted, Job, Report
from .node_bytes import WHOLE_TOKENS
from .window import Window

END_S = 60.0
START_S = 0.05
_SESSION = "x-session-id: its own"


class OpenLoop:
    """An `asker.Owner`. Asks for whole answers."""

    def __init__(self, job: Job) -> None:
        self._job = job
        target = job.target
        headers = (*target.headers, _SESSION) if job.own_sessions else target.headers
        whole = request(target.port, target.path, headers, target.model, job.shape)
        self._request = whole.partition(_SESSION.encode()) if job.own_sessions else whole
        self._warm = int(job.rate_per_s * job.warm_s)
        self._total = self._warm + int(job.rate_per_s * job.window_s)
        self._window = Window(target)
        self._counted = Counted()
        self._idle: list[Asker] = []
        self._connecting: set[asyncio.Task[None]] = set()
        self._started = self._asked = self._ended = 0
        self._all_ended = asyncio.Event()
        self._latency_s, self._late_s = array("d"), array("d")

    async def run(self) -> Report:
        loop = asyncio.get_running_loop()
        self._first_due_s = time.perf_counter() + START_S
        ticks = os.eventfd(0)
        loop.add_reader(ticks, self._tick, ticks)
        clock = threading.Thread(target=self._keep_time, args=(ticks,), daemon=True)
        clock.start()
        try:
            await asyncio.wait_for(
                self._all_ended.wait(), START_S + self._job.warm_s + self._job.window_s + END_S
            )
        except TimeoutError:
            self._counted.failed += self._started - self._ended
        loop.remove_reader(ticks)
        clock.join()
        os.close(ticks)
        for asker in self._idle:
            if asker.transport is not None:
                asker.transport.abort()
        return self._report()

    # -- Owner ------------------------------------------------------------------------------------

    def events(self, asker: Asker, count: int, now_s: float) -> None:
        raise AssertionError("a whole answer was asked for, and a stream came")

    def answered(self, asker: Asker, now_s: float) -> None:
        if asker.good:
            self._counted.finished += 1
            self._counted.finished_tokens += WHOLE_TOKENS
            latency_s, stall_s = now_s - asker.due_s, self._job.stall_s
            stalled = stall_s is not None and latency_s >= stall_s
            if asker.due_s >= self._first_measured_s and not stalled:
                self._latency_s.append(latency_s)
        else:
            self._counted.failed += 1
        self._idle.append(asker)
        self._count_end()

    def lost(self, asker: Asker) -> None:
        if asker in self._idle:
            self._idle.remove(asker)
        if asker.busy:
            self._counted.failed += 1
            self._count_end()

    # -- inside -----------------------------------------------------------------------------------

    @property
    def _first_measured_s(self) -> float:
        return self._due_s(self._warm)

    def _due_s(self, number: int) -> float:
        return self._first_due_s + number / self._job.rate_per_s

    def _keep_time(self, ticks: int) -> None:
        for number in range(self._total):
            time.sleep(max(self._due_s(number) - time.perf_counter(), 0))
            os.eventfd_write(ticks, 1)

    def _tick(self, ticks: int) -> None:
        for _ in range(os.eventfd_read(ticks)):
            number, self._started = self._started, self._started + 1
            if number == self._warm:
                self._window.open()
            self._begin(self._due_s(number))
        if self._started == self._total:
            self._window.close()

    def _begin(self, due_s: float) -> None:
        if self._idle:
            self._ask(self._idle.pop(), due_s)
            return
        task = asyncio.get_running_loop().create_task(self._connect_and_ask(due_s))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    async def _connect_and_ask(self, due_s: float) -> None:
        loop, port = asyncio.get_running_loop(), self._job.target.port
        try:
            _, asker = await loop.create_connection(lambda: Asker(self), "127.0.0.1", port)
        except OSError:
            self._counted.failed += 1
            self._count_end()
            return
        self._ask(asker, due_s)

    def _ask(self, asker: Asker, due_s: float) -> None:
        self._counted.sent += 1
        self._asked += 1
        asker.due_s = due_s
        asked = self._request
        if type(asked) is tuple:
            asked = b"%bx-session-id: %d%b" % (asked[0], self._asked, asked[2])
        asker.ask(asked)
        if due_s >= self._first_measured_s:
            self._late_s.append(asker.asked_s - due_s)

    def _count_end(self) -> None:
        self._ended += 1
        if self._ended == self._total:
            self._all_ended.set()

    def _report(self) -> Report:
        window = self._window
        return Report(
            window_s=window.seconds,
            gateway_cpu_s=window.gateway_cpu_s,
            node_cpu_s=window.node_cpu_s,
            load_cpu_s=window.load_cpu_s,
            gateway_core_busy_s=window.gateway_core_busy_s,
            gateway_rss_mib=window.gateway_rss_mib,
            answers=len(self._latency_s),
            events=0,
            reads=0,
            latency=percentiles_ms(self._latency_s),
            ttft=None,
            gap=None,
            late=percentiles_ms(self._late_s),
            counted=self._counted,
        )

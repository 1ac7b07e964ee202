"""Many times more streams asked for than there is room: what is refused, how fast, what is served.

The same moments as `open_loop.py`, whatever becomes of the requests before. A refusal's time counts
from when it was asked for: how late this side was is told beside it, and what is left of that time
without the waits for a core, of which a busy machine has many.
"""

from __future__ import annotations

import os
from array import array
from collections import Counter

import msgspec

from .arithmetic import percentiles_ms
from .asker import Asker
from .core_wait import CoreWait
from .job import Job, Report
from .open_loop import OpenLoop


class Flood(OpenLoop):
    def __init__(self, job: Job) -> None:
        super().__init__(job)
        assert job.shape is not None, "a flood asks for streams"
        self._shape = job.shape
        self._statuses: Counter[str] = Counter()
        self._refused_s, self._on_core_s = array("d"), array("d")
        assert job.target.gateway_pid is not None, "a flood is refused by a gateway"
        self._core_wait = CoreWait(job.target.gateway_pid, os.getpid())
        self._waited_at_first_s = self._core_wait.seconds()
        self._served = 0

    def events(self, asker: Asker, count: int, now_s: float) -> None:
        """They are counted by the books."""

    def answered(self, asker: Asker, now_s: float) -> None:
        self._statuses[asker.status.decode()] += 1
        if asker.good:
            self._counted.sent += 1
            self._counted.finished += 1
            self._counted.finished_tokens += self._shape.tokens
            self._served += self._window.is_open
        elif asker.due_s >= self._first_measured_s:
            refused_s = now_s - asker.asked_s
            self._refused_s.append(refused_s)
            waited_s = self._core_wait.longest_since(asker.core_wait_s)
            self._on_core_s.append(max(0.0, refused_s - waited_s))
        self._idle.append(asker)
        self._count_end()

    def _ask(self, asker: Asker, due_s: float) -> None:
        asker.core_wait_s = self._core_wait.seconds()
        super()._ask(asker, due_s)
        self._counted.sent -= 1  # only what is served is charged

    def _report(self) -> Report:
        waited_s = self._core_wait.longest_since(self._waited_at_first_s)
        self._core_wait.close()
        return msgspec.structs.replace(
            super()._report(),
            core_wait_s=waited_s,
            refusal_on_core=percentiles_ms(self._on_core_s),
            answers=self._served,
            statuses=dict(self._statuses),
            refusal=percentiles_ms(self._refused_s),
        )

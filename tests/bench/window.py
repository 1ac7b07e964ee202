"""The time in which a job is measured: CPU is read at its edges."""

from __future__ import annotations

import time

from . import proc_tree
from .job import Target


class Window:
    """Closed until `open`; its figures are there once it is closed again."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self.is_open = False
        self.seconds = 0.0
        self.gateway_cpu_s: float | None = None
        self.node_cpu_s = 0.0
        self.load_cpu_s = 0.0
        self.gateway_core_busy_s = 0.0
        self.gateway_rss_mib: float | None = None

    def open(self) -> None:
        self._start = self._read()
        self.is_open = True

    def close(self) -> None:
        self.is_open = False
        end = self._read()
        seconds, load, node, core, gateway = (b - a for a, b in zip(self._start, end, strict=True))
        self.seconds, self.load_cpu_s, self.node_cpu_s = seconds, load, node
        self.gateway_core_busy_s = core
        if self._target.gateway_pid is not None:
            self.gateway_cpu_s = gateway
            self.gateway_rss_mib = proc_tree.rss_mib(self._target.gateway_pid)

    def _read(self) -> tuple[float, ...]:
        target = self._target
        return (
            time.perf_counter(),
            time.process_time(),
            proc_tree.cpu_s(target.node_pid),
            proc_tree.core_busy_s(target.gateway_core),
            0.0 if target.gateway_pid is None else proc_tree.cpu_s(target.gateway_pid),
        )

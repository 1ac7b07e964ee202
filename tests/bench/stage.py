"""A gateway over mock nodes, for a scenario: set up, loaded, searched for leaks, taken down."""

from __future__ import annotations

import sys
import time
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec
from held_port import held_port

from . import proc_tree
from .books import Books, faults, told
from .job import Counted, Job, Report, Target
from .load import carry_out
from .node_bytes import WHOLE_TOKENS
from .peers import KEY
from .pinned import Pinned
from .probe import (
    POLL_S,
    metric,
    read_tally,
    wait_until_answered,
    wait_until_booked,
    wait_until_quiet,
    wait_until_up,
)

GONE_WITHIN_S = 60


class Cores(msgspec.Struct, frozen=True, kw_only=True):
    gateway: int = 0
    load: int = 1


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    nodes: int = 2
    hung_nodes: int = 0
    """So many of the nodes accept connections and never answer."""
    first_byte_timeout_s: int = 300
    capacity: int = 4096
    """Of each of the gateway's node records."""


class Stage:
    """Use it as a context. `counted` is everything that was sent through it."""

    def __init__(self, folder: Path, setting: Setting, cores: Cores) -> None:
        self._folder = folder
        self._setting = setting
        self._cores = cores
        self._stack = ExitStack()
        self.counted = Counted()
        self._port, *ports = (held_port() for _ in range(1 + setting.nodes))
        self._well, self._hung = ports[setting.hung_nodes :], ports[: setting.hung_nodes]

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            node = stack.enter_context(self._start_node())
            self.gateway = stack.enter_context(self._start_gateway())
            self.target = Target(
                port=self._port,
                headers=(f"Authorization: Bearer {KEY}",),
                gateway_pid=self.gateway.pid,
                node_pid=node.pid,
                gateway_core=self._cores.gateway,
            )
            wait_until_answered(self.target.port, self.target.headers, self.gateway, within_s=30)
            self.counted.add(Counted(sent=1, finished=1, finished_tokens=WHOLE_TOKENS))
            wait_until_quiet(self.gateway.pid)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def load(self, job: Job) -> Report:
        """Carry out a job (whose target is replaced by this gateway) and count it."""
        report = carry_out(msgspec.structs.replace(job, target=self.target), self._cores.load)
        self.counted.add(report.counted)
        return report

    def rss_mib(self) -> float:
        """Of the gateway, once it has nothing left to do."""
        wait_until_quiet(self.gateway.pid)
        return proc_tree.rss_mib(self.gateway.pid)

    def metric(self, name: str) -> float:
        return metric(self.target.port, name)

    def wait_for(self, name: str, value: float) -> None:
        """Until a metric has this value. Raises TimeoutError."""
        deadline_s = time.monotonic() + GONE_WITHIN_S
        while (found := self.metric(name)) != value:
            if time.monotonic() > deadline_s:
                raise TimeoutError(f"{name} is {found:g}, not {value:g}")
            time.sleep(POLL_S)

    def leftovers(self) -> list[str]:
        """What remains of requests whose clients have all gone: nothing, if all is well."""
        deadline_s = time.monotonic() + GONE_WITHIN_S
        while (found := self._leftovers()) and time.monotonic() < deadline_s:
            time.sleep(POLL_S)
        return found

    def close_books(self) -> tuple[Books, list[str]]:
        """End the gateway; returns what its ledger holds, and what is wrong with it."""
        wait_until_booked(self.target.port)
        tally = read_tally(self._well[0])
        self.gateway.end(within_s=60)
        books = told(self.gateway.log_end())
        return books, faults(books, self.counted, tally)

    def _leftovers(self) -> list[str]:
        counts = {
            "requests in flight": self.metric("tollgate_requests_in_flight"),
            "requests on nodes": self.metric("tollgate_node_in_flight"),
            "rows not in the ledger": self.metric("tollgate_spool_backlog_rows"),
            "connections of clients": proc_tree.connections_to(self.target.port),
        }
        return [f"{count:g} {what}" for what, count in counts.items() if count]

    def _start_node(self) -> Pinned:
        hung = [str(port) for port in self._hung]
        command = [sys.executable, "-m", "tests.bench.mock_node", *map(str, self._well)]
        if hung:
            command += ["--hung", *hung]
        node = Pinned(command, core=self._cores.load, log=self._folder / "node.log")
        wait_until_up(self._well[0], node)
        return node

    def _start_gateway(self) -> Pinned:
        urls = [f"http://127.0.0.1:{port}" for port in (*self._hung, *self._well)]
        command = [sys.executable, "-m", "tests.bench.serve", str(self._port), *urls]
        command += ["--first-byte-timeout-s", str(self._setting.first_byte_timeout_s)]
        command += ["--capacity", str(self._setting.capacity)]
        return Pinned(command, core=self._cores.gateway, log=self._folder / "gateway.log")

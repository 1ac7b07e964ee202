"""A run: every peer measured once, then again, so that a neighbour's load meets all alike.

The gateway has one core to itself; node and load share another.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec

from serving.free_ports import free_ports

from . import proc_tree
from .books import BooksError, faults, told
from .job import Counted, Target
from .load import LoadError, carry_out
from .node_bytes import WHOLE_TOKENS
from .peers import Peer, Ports, command_of
from .pinned import Pinned, PinnedError
from .plan import JOBS, WARM_UP
from .probe import (
    read_tally,
    wait_until_answered,
    wait_until_booked,
    wait_until_quiet,
    wait_until_up,
)
from .result import Audit, Failure, Measure, Run, Start

PORTS = Ports(*free_ports(4))
_WARM_UP_STEPS = 1
STEPS = len(JOBS) + _WARM_UP_STEPS
"""Calls of `tell` for each peer in each repeat."""


class Runner:
    """`tell` hears what is being done, a step at a time."""

    def __init__(
        self, *, window_s: float, gateway_core: int, load_core: int, tell: Callable[[str], None]
    ) -> None:
        self._window_s = window_s
        self._gateway_core = gateway_core
        self._load_core = load_core
        self._tell = tell

    def measure(self, run: Run, peer: Peer | None, program: str | None, repeat: int) -> None:
        """Add to `run` all measures of one peer (None: the node, asked directly)."""
        name = "direct" if peer is None else peer.name
        with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
            logs = Path(folder)
            try:
                node = stack.enter_context(self.node(logs / "node.log"))
                if peer is None:
                    self._all_jobs(run, name, repeat, self._target(node.pid, None), peer)
                    return
                gateway = stack.enter_context(
                    Pinned(
                        command_of(peer, program or "", PORTS, logs),
                        core=self._gateway_core,
                        log=logs / "gateway.log",
                        environment=peer.environment,
                    )
                )
                target = self._target(node.pid, gateway.pid, peer)
                run.starts.append(self._start(name, repeat, target, gateway, peer.start_s))
                counted = Counted(sent=1, finished=1, finished_tokens=WHOLE_TOKENS)
                counted.add(self._all_jobs(run, name, repeat, target, peer))
                if peer.has_books:
                    run.audits.append(self._audit(name, repeat, gateway, counted))
            except (PinnedError, LoadError, BooksError) as error:
                run.failures.append(Failure(peer=name, repeat=repeat, why=str(error)))

    @contextmanager
    def node(self, log: Path) -> Iterator[Pinned]:
        ports = [str(PORTS.node), str(PORTS.other_node)]
        command = [sys.executable, "-m", "tests.bench.mock_node", *ports]
        with Pinned(command, core=self._load_core, log=log) as node:
            wait_until_up(PORTS.node, node)
            yield node

    def _target(self, node: int, gateway: int | None, peer: Peer | None = None) -> Target:
        return Target(
            port=PORTS.node if gateway is None else PORTS.gateway,
            headers=() if peer is None else peer.headers,
            gateway_pid=gateway,
            node_pid=node,
            gateway_core=self._gateway_core,
        )

    def _start(
        self, peer: str, repeat: int, target: Target, gateway: Pinned, within_s: float
    ) -> Start:
        began_s = time.monotonic()
        wait_until_answered(target.port, target.headers, gateway, within_s=within_s)
        start_s = time.monotonic() - began_s
        wait_until_quiet(gateway.pid)
        return Start(
            peer=peer, repeat=repeat, start_s=start_s, rss_mib=proc_tree.rss_mib(gateway.pid)
        )

    def _all_jobs(
        self, run: Run, name: str, repeat: int, target: Target, peer: Peer | None
    ) -> Counted:
        counted = Counted()
        self._tell(f"{name}: warming up")
        counted.add(
            carry_out(msgspec.structs.replace(WARM_UP, target=target), self._load_core).counted
        )
        for job_name, job_of in JOBS.items():
            self._tell(f"{name}: {job_name}")
            job = job_of(target, self._window_s, 200 if peer is None else peer.rate_per_s)
            gateway = target.gateway_pid
            before_s = 0.0 if gateway is None else wait_until_quiet(gateway)
            report = carry_out(job, self._load_core)
            after_s = None if gateway is None else wait_until_quiet(gateway) - before_s
            run.measures.append(
                Measure(peer=name, repeat=repeat, name=job_name, report=report, all_cpu_s=after_s)
            )
            counted.add(report.counted)
        return counted

    def _audit(self, name: str, repeat: int, gateway: Pinned, counted: Counted) -> Audit:
        wait_until_booked(PORTS.gateway)
        tally = read_tally(PORTS.node)
        gateway.end(within_s=60)
        books = told(gateway.log_end())
        return Audit(
            peer=name,
            repeat=repeat,
            books=books,
            counted=counted,
            tally=tally,
            faults=faults(books, counted, tally),
        )

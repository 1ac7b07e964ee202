"""A run: every peer measured once, then again, so that a neighbour's load meets all alike.

The gateway has one core to itself; node and load share another.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.client import HTTPException
from pathlib import Path

import msgspec

from . import proc_tree
from .asker import request
from .books import BooksError, faults, told
from .job import Counted, Job, Report, Target
from .mock_node import Tally
from .node_bytes import WHOLE_TOKENS
from .peers import Peer, Ports, command_of
from .pinned import ROOT, Pinned, PinnedError
from .plan import JOBS, WARM_UP
from .result import Audit, Failure, Measure, Run, Start

PORTS = Ports()
POLL_S = 0.1
QUIET_CPU_S = 0.01
"""A gateway that uses no more than this in 0.2 s has worked off the last load."""
QUIET_WITHIN_S = 10
UP_WITHIN_S = 20
BOOKED_WITHIN_S = 120
_WARM_UP_STEPS = 1
STEPS = len(JOBS) + _WARM_UP_STEPS
"""Calls of `told` for each peer in each repeat."""


class LoadError(RuntimeError):
    """The load process ended without a report."""


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
        counted.add(self.carry_out(msgspec.structs.replace(WARM_UP, target=target)).counted)
        for job_name, job_of in JOBS.items():
            self._tell(f"{name}: {job_name}")
            job = job_of(target, self._window_s, 200 if peer is None else peer.rate_per_s)
            gateway = target.gateway_pid
            before_s = 0.0 if gateway is None else wait_until_quiet(gateway)
            report = self.carry_out(job)
            after_s = None if gateway is None else wait_until_quiet(gateway) - before_s
            run.measures.append(
                Measure(peer=name, repeat=repeat, name=job_name, report=report, all_cpu_s=after_s)
            )
            counted.add(report.counted)
        return counted

    def carry_out(self, job: Job) -> Report:
        """Run a load process. Raises LoadError."""
        ended = subprocess.run(
            ["taskset", "-c", str(self._load_core), sys.executable, "-m", "tests.bench.load",
             msgspec.json.encode(job).decode()],
            cwd=ROOT, capture_output=True, check=False,
        )  # fmt: skip
        if ended.returncode:
            raise LoadError(f"the load process failed:\n{ended.stderr.decode()[-2000:]}")
        return msgspec.json.decode(ended.stdout, type=Report)

    def _audit(self, name: str, repeat: int, gateway: Pinned, counted: Counted) -> Audit:
        wait_until_booked(PORTS.gateway)
        tally = read_tally()
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


def read_tally() -> Tally:
    return msgspec.json.decode(page(PORTS.node, "/tally"), type=Tally)


def page(port: int, path: str) -> bytes:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
        body: bytes = answer.read()
    return body


def metric(port: int, name: str) -> float:
    """The sum of a gateway's samples of this name."""
    lines = page(port, "/metrics").decode().splitlines()
    return sum(
        float(line.rpartition(" ")[2])
        for line in lines
        if line.startswith((f"{name} ", f"{name}{{"))
    )


def wait_until_booked(port: int) -> None:
    """Until every row that the gateway recorded is in its ledger. Raises BooksError."""
    deadline_s = time.monotonic() + BOOKED_WITHIN_S
    while rows := metric(port, "tollgate_spool_backlog_rows"):
        if time.monotonic() > deadline_s:
            raise BooksError(f"{rows:.0f} rows are not in the ledger after {BOOKED_WITHIN_S} s")
        time.sleep(POLL_S)


def wait_until_quiet(pid: int) -> float:
    """Until the tree has nothing left to do; returns its CPU seconds then."""
    deadline_s = time.monotonic() + QUIET_WITHIN_S
    cpu_s = proc_tree.cpu_s(pid)
    while time.monotonic() < deadline_s:
        time.sleep(0.2)
        before_s, cpu_s = cpu_s, proc_tree.cpu_s(pid)
        if cpu_s - before_s <= QUIET_CPU_S:
            break
    return cpu_s


def wait_until_up(port: int, process: Pinned) -> None:
    """Until it takes connections. Raises PinnedError."""
    deadline_s = time.monotonic() + UP_WITHIN_S
    while time.monotonic() < deadline_s:
        process.check()
        with contextlib.suppress(OSError):
            page(port, "/health")
            return
        time.sleep(POLL_S)
    raise PinnedError(f"it does not listen after {UP_WITHIN_S} s:\n{process.log_end()}")


def wait_until_answered(
    port: int, headers: tuple[str, ...], process: Pinned, *, within_s: float
) -> None:
    """Until one whole chat request is answered. Raises PinnedError."""
    body = request(port, "", (), "mock", None).partition(b"\r\n\r\n")[2]
    fields = {"content-type": "application/json"}
    fields |= dict(header.split(": ", 1) for header in headers)
    url = f"http://127.0.0.1:{port}/v1/chat/completions"
    deadline_s = time.monotonic() + within_s
    last = ""
    while time.monotonic() < deadline_s:
        process.check()
        try:
            asked = urllib.request.Request(url, body, fields)
            with urllib.request.urlopen(asked, timeout=5) as answer:
                json.load(answer)
                return
        except urllib.error.HTTPError as error:
            last = f"{error} {error.read()[:300]!r}"
        except (OSError, HTTPException) as error:
            last = str(error)
        time.sleep(POLL_S)
    raise PinnedError(f"no answer within {within_s:g} s: {last}\n{process.log_end()}")

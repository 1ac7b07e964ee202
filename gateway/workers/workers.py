"""Several gateways on one port: starts them, starts again those that die, and ends them all.

The supervisor serves nothing and opens no database. It holds the port (bound, so that it stays
ours, but not listening, so that no connection waits for it) and waits: for a signal, for the end of
a worker, for a worker to say that it serves. The first worker starts alone, for it books what
absent workers left; the others follow once it serves.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

import msgspec

from gateway.config import Config
from gateway.home import Home
from gateway.workers.listening import reserve

log = logging.getLogger("tollgate")

RESTART_DELAYS_S = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
STEADY_S = 30.0
"""A worker that has served this long starts again at once."""
KILL_MARGIN_S = 30.0
"""Beyond the times to leave and to drain; longer than a worker allows itself."""
SERVING = "serving"
"""What a worker says on its stdout, before it closes it; or else, why it cannot."""


class StartError(Exception):
    """A worker cannot start; the message is its reason."""


class WorkerSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker is told. The configuration as the supervisor read it: all have the same."""

    home: str
    config: Config
    worker: int
    run: str
    supervisor_pid: int


class _Child:
    """One worker's place, and the process that has it, if one does."""

    def __init__(self, worker: int) -> None:
        self.worker = worker
        self.process: subprocess.Popen[bytes] | None = None
        self.report: IO[bytes] | None = None
        """Its stdout, until it has said all that it has to."""
        self.start_at_s = 0.0
        self._said = b""
        self._began_s = 0.0
        self._failures = 0

    @property
    def serving(self) -> bool:
        return self.report is None and self._said == SERVING.encode()

    def is_due(self) -> bool:
        return self.process is None and self.start_at_s <= time.monotonic()

    def began(self, process: subprocess.Popen[bytes]) -> None:
        self.process, self.report, self._said = process, process.stdout, b""
        self._began_s = time.monotonic()

    def hear(self) -> None:
        assert self.report is not None
        part = os.read(self.report.fileno(), 65536)
        self._said += part
        if not part:
            self.report.close()
            self.report = None

    def last_words(self) -> str:
        """Why it could not serve, of a process that has ended; empty if it said nothing."""
        while self.report is not None:
            self.hear()
        return "" if self.serving else self._said.decode(errors="replace")

    def vacate(self) -> float:
        """The process has ended. Returns the seconds until the next may start."""
        if self.serving and time.monotonic() - self._began_s >= STEADY_S:
            self._failures = 0
        delay_s = RESTART_DELAYS_S[min(self._failures, len(RESTART_DELAYS_S) - 1)]
        self._failures += 1
        self.start_at_s = time.monotonic() + delay_s
        self.process, self._said = None, b""
        return delay_s


class Workers:
    """`announce` is told the port once all serve. Signals are this process's to handle."""

    def __init__(self, home: Home, config: Config, announce: Callable[[int], None]) -> None:
        self._home = home
        self._config = config
        self._announce = announce
        self._run = secrets.token_hex(8)
        self._children = [_Child(worker) for worker in range(config.server.workers)]
        self._stops: list[int] = []
        self._wakeup_fd = -1

    def run(self) -> None:
        """Until a signal, then drain. Raises StartError and AddressError; no process is left."""
        server = self._config.server
        with contextlib.ExitStack() as held:
            sockets = [held.enter_context(one) for one in reserve(server.host, server.port)]
            self._config = self._config.at(port=sockets[0].getsockname()[1])
            self._watch_signals()
            try:
                self._serve()
            finally:
                self._end()

    def _watch_signals(self) -> None:
        self._wakeup_fd, write = os.pipe()
        os.set_blocking(self._wakeup_fd, False)
        os.set_blocking(write, False)
        signal.set_wakeup_fd(write)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda number, _frame: self._stops.append(number))
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)

    # -- serving ----------------------------------------------------------------------------------

    def _serve(self) -> None:
        first, others_may_start, complete = self._children[0], False, False
        self._start_or_wait(first, complete)
        while not self._stops:
            self._wait(self._next_start_s())
            for child in self._children:
                if child.process is not None and child.process.poll() is not None:
                    self._ended(child, complete)
            others_may_start = others_may_start or first.serving
            for child in self._children:
                if others_may_start and child.is_due():
                    self._start_or_wait(child, complete)
            if not complete and all(child.serving for child in self._children):
                complete = True
                self._announce(self._config.server.port)

    def _start_or_wait(self, child: _Child, complete: bool) -> None:
        try:
            self._start(child)
        except OSError as error:  # no memory, process or descriptor is left
            if not complete:
                raise StartError(f"worker {child.worker} cannot be started: {error}") from error
            delay_s = child.vacate()
            log.warning("worker %d: %s; tried again in %g s", child.worker, error, delay_s)

    def _start(self, child: _Child) -> None:
        root = str(Path(__file__).parents[2])
        path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
        spec = WorkerSpec(
            home=str(self._home.path),
            config=self._config,
            worker=child.worker,
            run=self._run,
            supervisor_pid=os.getpid(),
        )
        with tempfile.TemporaryFile() as stdin:
            stdin.write(msgspec.json.encode(spec))
            stdin.seek(0)
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "gateway.workers.worker"],
                stdin=stdin,
                stdout=subprocess.PIPE,
                env={**os.environ, "PYTHONPATH": path},
                start_new_session=True,  # Ctrl-C is ours to pass on, once
            )
        child.began(process)

    def _ended(self, child: _Child, complete: bool) -> None:
        """A worker died, or somebody ended it: another gets its place, its spool and its counts."""
        assert child.process is not None
        pid, status = child.process.pid, child.process.returncode
        reason = child.last_words()
        ended = f"worker {child.worker}, process {pid}, ended with status {status}"
        if not complete and not child.serving:
            raise StartError(reason or f"{ended} before it served; the log says why")
        delay_s = child.vacate()
        log.warning("%s%s; another starts in %g s", ended, f" ({reason})" * bool(reason), delay_s)

    def _next_start_s(self) -> float | None:
        """Seconds until a worker is to start again; None if only a report can bring that about."""
        waiting = [child.start_at_s for child in self._children if child.process is None]
        due_s = [start_at_s for start_at_s in waiting if start_at_s]
        return max(0.0, min(due_s) - time.monotonic()) if due_s else None

    def _wait(self, timeout_s: float | None) -> None:
        reports = {child.report.fileno(): child for child in self._children if child.report}
        ready, _, _ = select.select([self._wakeup_fd, *reports], [], [], timeout_s)
        for fd in ready:
            if fd in reports:
                reports[fd].hear()
        with contextlib.suppress(BlockingIOError):
            while os.read(self._wakeup_fd, 4096):
                pass

    # -- the end ----------------------------------------------------------------------------------

    def _end(self) -> None:
        """Every worker drains; each further signal hurries them, and time ends them."""
        server = self._config.server
        deadline_s = time.monotonic() + server.leave_s + server.drain_s + KILL_MARGIN_S
        told = 0
        while living := self._living():
            left_s = deadline_s - time.monotonic()
            hurry = told == 0 or told < len(self._stops)
            for process in living:
                if left_s <= 0:
                    process.kill()
                elif hurry:
                    process.terminate()
            told += hurry
            self._wait(max(0.1, left_s))

    def _living(self) -> list[subprocess.Popen[bytes]]:
        processes = [child.process for child in self._children]
        return [process for process in processes if process and process.poll() is None]

"""`tollgate serve` as processes on a port of its own, killed and started again by their ids."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from pathlib import Path

import httpx
from held_port import held_port
from served import eventually, sample_sum
from together import children_of, lives

START_S = 60
IN_FLIGHT = "tollgate_requests_in_flight"
BACKLOG = "tollgate_spool_backlog_rows"


class GatewayProcess:
    """`home` has its configuration; `environment` is added to this process's own."""

    def __init__(self, home: Path, workers: int, environment: dict[str, str]) -> None:
        self.home = home
        self._workers = workers
        self._environment = environment
        self._log = home.with_suffix(".log")
        self._process: asyncio.subprocess.Process | None = None
        self.port = held_port()

    async def start(self) -> None:
        """Returns once all workers serve."""
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "gateway", "serve", "--home", str(self.home)),
                *("--workers", str(self._workers), "--port", str(self.port)),
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                env={**os.environ, **self._environment},
            )
        assert self._process.stdout is not None
        line = await asyncio.wait_for(self._process.stdout.readline(), START_S)
        assert line.startswith(b"Serving "), self._log.read_text()[-3000:]

    @property
    def runs(self) -> bool:
        return self._process is not None and self._process.returncode is None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def workers(self) -> list[int]:
        """Those of a supervisor; a gateway of one process has none."""
        return [pid for pid in children_of(self.pid) if lives(pid)] if self.runs else []

    async def kill(self) -> None:
        """The supervisor and all its workers, as when a machine's memory runs out."""
        assert self._process is not None
        pids = [self.pid, *self.workers]
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        await self._process.wait()
        await eventually(lambda: [pid for pid in pids if lives(pid)], lambda left: not left)

    def kill_worker(self, index: int) -> None:
        workers = self.workers
        if workers:
            os.kill(workers[index % len(workers)], signal.SIGKILL)

    async def stop(self) -> int:
        """In order; the exit status."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return await asyncio.wait_for(self._process.wait(), START_S)

    async def close(self) -> None:
        if self.runs:
            await self.kill()

    async def quiet(self) -> bool:
        """All workers serve, nothing is under way, and the ledger has every row of the spools."""
        if self._workers > 1 and len(self.workers) < self._workers:
            return False
        try:
            return not any([await self.metric(name) for name in (IN_FLIGHT, BACKLOG)])
        except httpx.TransportError:
            return False

    async def metric(self, name: str) -> float:
        """Raises httpx.TransportError."""
        async with httpx.AsyncClient() as client:
            text = (await client.get(f"http://127.0.0.1:{self.port}/metrics")).text
        return sample_sum(text, name, {})

"""Processes of a run: each pinned to a core, its output in a log, ended by id."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Self

from . import proc_tree

ROOT = Path(__file__).parents[2]
POLL_S = 0.02


class PinnedError(RuntimeError):
    """A process did not start; the message holds the end of its log."""


class Pinned:
    """One process tree. Use it as a context: it is ended with the block."""

    def __init__(
        self, command: list[str], *, core: int, log: Path, environment: dict[str, str] | None = None
    ) -> None:
        self._log = log
        with log.open("ab") as out:
            self._process = subprocess.Popen(
                ["taskset", "-c", str(core), *command],
                cwd=ROOT,
                env={**os.environ, **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def check(self) -> None:
        """Raises PinnedError if it has ended."""
        if self._process.poll() is not None:
            raise PinnedError(
                f"{' '.join(self._process.args)} ended with {self._process.returncode}:\n"
                f"{self.log_end()}"
            )

    def log_end(self, characters: int = 2000) -> str:
        return self._log.read_text(errors="replace")[-characters:]

    def end(self, *, within_s: float = 30) -> None:
        """Ask it to stop; what is left of the tree after that time is killed."""
        tree = proc_tree.descendants(self.pid)
        if self._process.poll() is None:
            self._process.terminate()
        deadline_s = time.monotonic() + within_s
        while any(map(_alive, tree)) and time.monotonic() < deadline_s:
            self._process.poll()  # reaps it
            time.sleep(POLL_S)
        for pid in filter(_alive, tree):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait()


def _alive(pid: int) -> bool:
    """Whether it still runs; one that nobody has reaped yet does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat[stat.rindex(")") + 2] != "Z"

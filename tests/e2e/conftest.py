"""One `tollgate up` for all end-to-end tests: a Ray head, one vLLM replica, a gateway.

The start of the session is itself a test: an `up` on the same home is killed before it serves, so
that the one under test has a killed predecessor to clean up after. The end is one too: nothing may
be left behind.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from serving.child_process import log_tail
from serving.free_ports import free_ports, is_free
from serving.process_table import owned_by

ROOT = Path(__file__).parents[2]
START_TIMEOUT_S = 300.0
STOP_TIMEOUT_S = 60.0
# Guards give a tree ten seconds to end well.
KILLED_TIMEOUT_S = 30.0


def wait_until(
    what: str,
    check: Callable[[], object],
    timeout_s: float,
    explain: Callable[[], str] = lambda: "",
) -> None:
    deadline = time.monotonic() + timeout_s
    while not check():
        assert time.monotonic() < deadline, f"waited {timeout_s:g} s for {what}\n{explain()}"
        time.sleep(0.1)


class Stack:
    """The running whole. `output` is what `tollgate up` has printed."""

    def __init__(self, home: Path, port: int) -> None:
        self.home = home
        self.port = port
        self.process = self._start()

    @property
    def state(self) -> dict[str, str | int]:
        """up.json as it is now."""
        state: dict[str, str | int] = json.loads((self.home / "up.json").read_text())
        return state

    @property
    def output(self) -> str:
        return (self.home / "up.out").read_text()

    def command(self) -> list[str]:
        up = [sys.executable, "-m", "gateway", "up"]
        return [*up, "--home", str(self.home), "--port", str(self.port)]

    def start_again(self) -> None:
        self.process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        with (self.home / "up.out").open("wb") as output:
            return subprocess.Popen(
                self.command(), cwd=ROOT, stdout=output, stderr=subprocess.STDOUT
            )

    def kill(self) -> float:
        """`kill -9` of the supervisor; seconds until nothing of it lives, or a failure."""
        self.process.kill()
        self.process.wait()
        started = time.monotonic()
        wait_until("a killed `up` to leave nothing", lambda: not self.left(), KILLED_TIMEOUT_S)
        return time.monotonic() - started

    def stop(self) -> int:
        """SIGTERM to the supervisor; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_TIMEOUT_S)

    def left(self) -> list[int]:
        return owned_by(str(self.home))

    wait_until = staticmethod(wait_until)

    def wait_until_serving(self) -> None:
        wait_until(
            "`tollgate up` to serve",
            lambda: (self.home / "up.json").exists() or self.process.poll() is not None,
            START_TIMEOUT_S,
            lambda: f"{self.output}\n{log_tail(self.home / 'logs' / 'gateway.log')}",
        )
        assert self.process.poll() is None, self.output


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    outside = _outside()
    stack = Stack(tmp_path_factory.mktemp("up"), free_ports(1)[0])
    try:
        wait_until(
            "Ray to run", lambda: "starting the engine" in stack.output, 120.0, lambda: stack.output
        )
        assert len(stack.left()) > 10, "Ray and its guard should be found by their mark"
        stack.kill()
        stack.start_again()
        stack.wait_until_serving()
        yield stack
        assert stack.stop() == 0, stack.output
        assert stack.left() == []
        assert not (stack.home / "up.json").exists()
        assert is_free(stack.port)
        assert _outside() <= outside, "files left outside the home"
    finally:
        if stack.process.poll() is None:
            stack.kill()


def _outside() -> set[str]:
    """Names that an engine could leave outside its home: shared memory, short socket folders."""
    return {*os.listdir("/dev/shm"), *(path.name for path in Path("/tmp").glob("tg-*"))}

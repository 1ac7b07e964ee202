"""The guard, as a real process over real process trees."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from multiprocessing import shared_memory
from pathlib import Path

import pytest

from serving.child_process import GUARD, ChildProcess, log_tail
from serving.process_table import end, is_alive, owned_by

# Starts a child of its own that nothing but SIGKILL or its guard ends, says so, and waits.
STUBBORN_TREE = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
child = subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
print(child.pid, flush=True)
time.sleep(600)
"""


def wait_for(what: str, check: Callable[[], object], timeout_s: float = 20.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not check():
        assert time.monotonic() < deadline, f"waited {timeout_s} s for {what}"
        time.sleep(0.02)


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


@pytest.fixture
def started(tmp_path: Path) -> Iterator[list[ChildProcess]]:
    children: list[ChildProcess] = []
    yield children
    for child in children:
        child.terminate()
        child.terminate()
        assert child.wait(20.0) is not None
        child.close()
    assert owned_by(str(tmp_path)) == []


def start(
    started: list[ChildProcess], tmp_path: Path, code: str, grace_s: float = 5.0
) -> ChildProcess:
    log = tmp_path / "child.log"
    child = ChildProcess("child", python(code), owner=str(tmp_path), log=log, grace_s=grace_s)
    started.append(child)
    return child


def test_it_reports_the_commands_pid_status_and_output(
    started: list[ChildProcess], tmp_path: Path
) -> None:
    child = start(started, tmp_path, "import os; print('pid', os.getpid()); raise SystemExit(7)")
    assert child.wait(10.0) == 7
    assert log_tail(child.log) == f"pid {child.pid}"


def test_a_command_may_use_its_grace_to_end_well(
    started: list[ChildProcess], tmp_path: Path
) -> None:
    child = start(
        started,
        tmp_path,
        "import signal, time\n"
        "def drain(*_): time.sleep(0.5); print('drained', flush=True); raise SystemExit(0)\n"
        "signal.signal(signal.SIGTERM, drain)\nprint('ready', flush=True)\ntime.sleep(600)",
    )
    wait_for("the command", lambda: log_tail(child.log) == "ready")
    child.terminate()
    assert child.wait(10.0) == 0
    assert log_tail(child.log, 1) == "drained"


def test_an_orphan_may_be_given_no_grace(tmp_path: Path) -> None:
    code = (
        "import signal, time\n"
        "def drain(*_): print('drained', flush=True); raise SystemExit(0)\n"
        "signal.signal(signal.SIGTERM, drain); print('ready', flush=True); time.sleep(600)\n"
    )
    log = tmp_path / "child.log"
    child = ChildProcess("child", python(code), owner=str(tmp_path), log=log, kill_orphan=True)
    wait_for("the child", lambda: log_tail(log) == "ready")
    child.close()  # as the kernel does when the supervisor is gone
    assert child.wait(10.0) == 128 + signal.SIGKILL
    assert log_tail(log) == "ready"


def test_a_second_request_does_not_wait_for_the_grace(
    started: list[ChildProcess], tmp_path: Path
) -> None:
    child = start(started, tmp_path, STUBBORN_TREE, grace_s=600.0)
    wait_for("the grandchild", lambda: log_tail(child.log))
    child.terminate()
    assert child.wait(0.5) is None
    child.terminate()
    assert child.wait(10.0) == 128 + signal.SIGKILL


def test_detached_grandchildren_end_with_the_command(
    started: list[ChildProcess], tmp_path: Path
) -> None:
    child = start(started, tmp_path, STUBBORN_TREE, grace_s=0.1)
    wait_for("the grandchild", lambda: log_tail(child.log))
    grandchild = int(log_tail(child.log))
    assert is_alive(grandchild)
    os.kill(child.pid, signal.SIGKILL)
    assert child.wait(20.0) == 128 + signal.SIGKILL
    assert not is_alive(grandchild)


def test_the_whole_tree_ends_when_the_supervisor_is_killed(tmp_path: Path) -> None:
    supervisor = subprocess.Popen(
        python(
            "import sys, time\nfrom pathlib import Path\n"
            "from serving.child_process import ChildProcess\n"
            f"ChildProcess('c', {python(STUBBORN_TREE)!r}, owner={str(tmp_path)!r}, "
            f"log=Path({str(tmp_path / 'c.log')!r}), grace_s=0.2)\n"
            "time.sleep(600)"
        ),
        env={**os.environ, "PYTHONPATH": str(GUARD.parents[1])},
    )
    try:
        wait_for("the grandchild", lambda: log_tail(tmp_path / "c.log"))
        assert len(owned_by(str(tmp_path))) == 3  # guard, command, grandchild
    finally:
        supervisor.kill()
        supervisor.wait()
    wait_for("the tree to end", lambda: not owned_by(str(tmp_path)))


def test_what_a_killed_guard_leaves_is_found_and_ended(tmp_path: Path) -> None:
    child = ChildProcess(
        "child", python(STUBBORN_TREE), owner=str(tmp_path), log=tmp_path / "child.log"
    )
    wait_for("the grandchild", lambda: log_tail(child.log))
    os.kill(child.guard_pid, signal.SIGKILL)
    assert child.wait(10.0) is not None
    child.close()
    left = owned_by(str(tmp_path))
    assert int(log_tail(child.log)) in left
    assert end(left, grace_s=0.2) == []
    assert owned_by(str(tmp_path)) == []


def test_shared_memory_that_nobody_unlinks_is_unlinked(
    started: list[ChildProcess], tmp_path: Path
) -> None:
    child = start(
        started,
        tmp_path,
        "import time\nfrom multiprocessing import resource_tracker, shared_memory\n"
        "segment = shared_memory.SharedMemory(create=True, size=4096)\n"
        "resource_tracker.unregister(segment._name, 'shared_memory')\n"
        "print(segment.name, flush=True)\ntime.sleep(600)",
    )
    wait_for("the segment", lambda: log_tail(child.log))
    name = log_tail(child.log)
    assert Path("/dev/shm", name).exists()
    child.terminate()
    assert child.wait(10.0) is not None
    with pytest.raises(FileNotFoundError):
        shared_memory.SharedMemory(name)


def test_the_directory_to_remove_goes_when_all_has_ended(tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    (scratch / "socket").touch()
    child = ChildProcess(
        "child", python("pass"), owner=str(tmp_path), log=tmp_path / "child.log", remove=scratch
    )
    assert child.wait(10.0) == 0
    child.close()
    assert not scratch.exists()


def test_the_log_of_the_run_before_is_kept_once(tmp_path: Path) -> None:
    log = tmp_path / "child.log"
    for number in range(3):
        child = ChildProcess("child", python(f"print({number})"), owner=str(tmp_path), log=log)
        assert child.wait(10.0) == 0
        child.close()
    assert log_tail(log) == "2"
    assert log_tail(log.with_suffix(".log.1")) == "1"
    assert len(list(tmp_path.glob("child.log*"))) == 2

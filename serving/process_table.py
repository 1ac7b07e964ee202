"""Finding and ending processes that a lost supervisor left behind, through /proc."""

import os
import signal
import time
from pathlib import Path

from serving.child_process import OWNER_VARIABLE
from serving.guard import descendants


def owned_by(owner: str) -> list[int]:
    """Living processes that were started for `owner`, and all below them; never this process.

    A process may have changed its title so that its environment cannot be read; its parents carry
    the mark then, or its guard has ended it.
    """
    mark = f"{OWNER_VARIABLE}={owner}".encode()
    roots = [pid for pid in _all_pids() if mark in _environment(pid)]
    found = set(roots)
    for root in roots:
        found.update(descendants(root))
    return sorted(pid for pid in found - {os.getpid()} if is_alive(pid))


def end(pids: list[int], grace_s: float) -> list[int]:
    """SIGTERM, then SIGKILL after `grace_s`; returns those that even then live (should be none)."""
    _signal_all(pids, signal.SIGTERM)
    left = _wait(pids, grace_s)
    _signal_all(left, signal.SIGKILL)
    return _wait(left, 5.0)


def is_alive(pid: int) -> bool:
    """Whether it runs; one that only waits to be reaped does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return False
    return stat[stat.rindex(b")") + 2 : stat.rindex(b")") + 3] not in (b"Z", b"X")


def memory_available_bytes() -> int:
    """What new processes may take without swapping, by the kernel's own estimate."""
    for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    raise ValueError("/proc/meminfo has no MemAvailable")


def _all_pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _environment(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return []  # it ended, or belongs to somebody else


def _signal_all(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


def _wait(pids: list[int], timeout_s: float) -> list[int]:
    deadline = time.monotonic() + timeout_s
    while (left := [pid for pid in pids if is_alive(pid)]) and time.monotonic() < deadline:
        time.sleep(0.05)
    return left

"""Runs one command and leaves nothing of it behind.

    python guard.py --pid-fd N --grace SECONDS [--kill-orphan] [--remove DIR] -- COMMAND...

The guard stands between a supervisor and a tree of processes that it does not control (Ray starts
twenty, vLLM three more, some of them detached). It is the child subreaper of the tree, so that
nothing escapes by losing its parent. The tree ends when the command ends, when the guard gets
SIGTERM, or when the supervisor dies in any way: its stdin is a pipe that the supervisor holds, and
the end of that pipe is the one sign of death that `kill -9` cannot withhold. First the command gets
SIGTERM and `--grace` seconds, then the rest gets SIGTERM, then what is left SIGKILL. A second
SIGTERM skips the waiting. With `--kill-orphan` the supervisor's death gives the command no grace.

Standard library only and started with `-S`: it must cost nothing and work while the rest is broken.
"""

import argparse
import ctypes
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
STRAGGLER_GRACE_S = 3.0


def main() -> int:
    parser = argparse.ArgumentParser(prog="guard")
    parser.add_argument("--pid-fd", type=int, required=True)
    parser.add_argument("--grace", type=float, required=True)
    parser.add_argument("--kill-orphan", action="store_true")
    parser.add_argument("--remove", type=Path)
    parser.add_argument("command", nargs="+")
    options = parser.parse_args()
    _prctl(PR_SET_CHILD_SUBREAPER, 1)
    wakeup, stops = _watch_signals()
    # One thread here, so a function between fork and exec is safe.
    command = subprocess.Popen(
        options.command,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=_die_with_parent,
    )
    os.write(options.pid_fd, b"%d\n" % command.pid)
    os.close(options.pid_fd)
    orphaned = _until_stop(command, wakeup, stops)
    if orphaned and options.kill_orphan:
        command.kill()
    shared = _shared_memory(descendants(os.getpid()))
    if command.poll() is None:
        command.terminate()
        _until_exit(command, wakeup, stops, options.grace)
    _end_stragglers(hurry=len(stops) > 1)
    for segment in shared:
        segment.unlink(missing_ok=True)
    if options.remove is not None:
        shutil.rmtree(options.remove, ignore_errors=True)
    code = command.wait()
    return code if code >= 0 else 128 - code


def _watch_signals() -> tuple[int, list[int]]:
    """A descriptor that becomes readable on any signal, and the list of the stops so far."""
    read, write = os.pipe()
    os.set_blocking(read, False)
    os.set_blocking(write, False)
    stops: list[int] = []
    signal.set_wakeup_fd(write)
    signal.signal(signal.SIGTERM, lambda number, _frame: stops.append(number))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
    return read, stops


def _until_stop(command: subprocess.Popen[bytes], wakeup: int, stops: list[int]) -> bool:
    """Returns whether it was the supervisor's death that ended the waiting."""
    while command.poll() is None and not stops:
        ready, _, _ = select.select([sys.stdin, wakeup], [], [])
        _drain(wakeup)
        if sys.stdin in ready:
            return True
        _reap_orphans(command)
    return False


def _until_exit(
    command: subprocess.Popen[bytes], wakeup: int, stops: list[int], grace_s: float
) -> None:
    deadline = time.monotonic() + grace_s
    while command.poll() is None and len(stops) < 2:
        left = deadline - time.monotonic()
        if left <= 0:
            return
        select.select([wakeup], [], [], left)
        _drain(wakeup)
        _reap_orphans(command)


def _end_stragglers(hurry: bool) -> None:
    deadline = time.monotonic() + (0 if hurry else STRAGGLER_GRACE_S)
    told: set[int] = set()
    while pids := descendants(os.getpid()):
        late = time.monotonic() >= deadline
        for pid in pids:
            if late or pid not in told:
                told.add(pid)
                _signal(pid, signal.SIGKILL if late else signal.SIGTERM)
        time.sleep(0.02)


def descendants(root: int) -> list[int]:
    """Living processes below `root`, from /proc; those that only wait to be reaped do not count."""
    parents: dict[int, int] = {}
    zombies: set[int] = set()
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit():
            continue
        try:
            stat = Path(entry.path, "stat").read_bytes()
        except OSError:
            continue  # it ended while we were reading
        state, parent = stat[stat.rindex(b")") + 2 :].split(None, 2)[:2]
        parents[int(entry.name)] = int(parent)
        if state in (b"Z", b"X"):
            zombies.add(int(entry.name))
    found, level = set[int](), {root}
    while level:
        level = {pid for pid, parent in parents.items() if parent in level} - found
        found |= level
    return sorted(found - zombies)


def _shared_memory(pids: list[int]) -> set[Path]:
    """Named segments that these processes have open.

    Ray kills its workers and their resource trackers alike, and then nobody unlinks the segments.
    """
    segments: set[Path] = set()
    for pid in pids:
        try:
            maps = Path(f"/proc/{pid}/maps").read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        for line in maps.splitlines():
            path = line[line.find("/") :] if "/" in line else ""
            if path.startswith("/dev/shm/") and not path.endswith(" (deleted)"):
                segments.add(Path(path))
    return segments


def _reap_orphans(command: subprocess.Popen[bytes]) -> None:
    """Waits for adopted processes that have ended, but leaves the command's status to Popen."""
    while True:
        try:
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        if ended is None or ended.si_pid == command.pid:
            return
        os.waitpid(ended.si_pid, os.WNOHANG)


def _drain(wakeup: int) -> None:
    try:
        while os.read(wakeup, 4096):
            pass
    except BlockingIOError:
        return


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def _die_with_parent() -> None:
    """Runs in the child before exec: SIGTERM when the guard itself is killed."""
    _prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _prctl(option: int, value: int) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option}) failed; the guard needs Linux")


if __name__ == "__main__":
    sys.exit(main())

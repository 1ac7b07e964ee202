"""A child of the supervisor: its guard, its log file and its end."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

GUARD = Path(__file__).with_name("guard.py")
OWNER_VARIABLE = "TOLLGATE_CHILD_OF"


class ChildProcess:
    """One command under `guard.py`, writing to `log`; it dies with this process, however that is.

    Every process of the tree carries `TOLLGATE_CHILD_OF=<owner>` in its environment, so that what
    a lost guard left behind can be found (`process_table.owned_by`).
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        owner: str,
        log: Path,
        env: Mapping[str, str] | None = None,
        grace_s: float = 10.0,
        kill_orphan: bool = False,
        remove: Path | None = None,
    ) -> None:
        """Starts it. `remove` is a directory that the guard deletes once all has ended.

        `kill_orphan`: should this process die, the command is killed at once, without its grace.
        """
        self.name = name
        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        if log.exists():
            log.replace(log.with_suffix(".log.1"))  # of the run before; older ones go
        read_fd, write_fd = os.pipe()
        guard = [sys.executable, "-S", "-E", str(GUARD), "--pid-fd", str(write_fd)]
        guard += ["--grace", str(grace_s)]
        if kill_orphan:
            guard.append("--kill-orphan")
        if remove is not None:
            guard += ["--remove", str(remove)]
        with log.open("wb") as output:
            self._guard = subprocess.Popen(
                [*guard, "--", *command],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                # SPT_NOENV: processes that rename themselves must keep their environment readable.
                env={**os.environ, **(env or {}), OWNER_VARIABLE: owner, "SPT_NOENV": "1"},
                pass_fds=(write_fd,),
                start_new_session=True,
            )
        os.close(write_fd)
        with os.fdopen(read_fd, "rb") as reported:
            line = reported.readline()
        self.pid = int(line) if line else self._guard.pid

    @property
    def guard_pid(self) -> int:
        return self._guard.pid

    def poll(self) -> int | None:
        """Exit code of the command once the whole tree has ended, else None."""
        return self._guard.poll()

    def terminate(self) -> None:
        """Asks it to end; a second call ends it without waiting."""
        with contextlib.suppress(ProcessLookupError):
            self._guard.send_signal(signal.SIGTERM)

    def wait(self, timeout_s: float) -> int | None:
        """Waits for the end of the whole tree; None when `timeout_s` have passed."""
        try:
            return self._guard.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None

    def close(self) -> None:
        """Releases the pipe to the guard; only after it has ended, for that is its death sign."""
        if self._guard.stdin is not None:
            self._guard.stdin.close()


def log_tail(path: Path, lines: int = 20) -> str:
    """The last lines of a log, at most 64 KiB; empty when there is none."""
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 65_536))
        text = file.read().decode("utf-8", "replace")
    return "\n".join(text.splitlines()[-lines:])

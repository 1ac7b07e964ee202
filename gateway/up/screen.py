"""What `tollgate up` shows: a live line per long step on a terminal, plain lines elsewhere."""

import time
from types import TracebackType

from rich.console import Console
from rich.status import Status

PLAIN_INTERVAL_S = 10.0


class Screen:
    def __init__(self, console: Console) -> None:
        self._console = console

    def say(self, text: str) -> None:
        self._console.out(text, highlight=False)

    def fail(self, text: str, log: str = "", advice: str = "") -> None:
        """An error: what was wrong, the last lines of the log that tells more, what to do."""
        self._console.out(f"error: {text}", style="bold red", highlight=False)
        if log:
            self.say("\n".join(f"  | {line}" for line in log.splitlines()))
        if advice:
            self.say(advice)

    def step(self, text: str) -> "Step":
        return Step(self._console, text)


class Step:
    """One long step: shows what it is doing and for how long, then how long it took."""

    def __init__(self, console: Console, text: str) -> None:
        self._console = console
        self._text = text
        self._started = time.monotonic()
        self._said = self._started
        self._status: Status | None = None

    def __enter__(self) -> "Step":
        if self._console.is_terminal:
            self._status = self._console.status(self._text)
            self._status.start()
        else:
            self._out(f"{self._text} ...")
        return self

    def update(self, text: str) -> None:
        """Call it often: it also moves the clock."""
        now = time.monotonic()
        line = f"{text} ({now - self._started:.0f} s)"
        if self._status is not None:
            self._status.update(line)
        elif text != self._text or now - self._said >= PLAIN_INTERVAL_S:
            self._out(f"{line} ...")
            self._said = now
        self._text = text

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._status is not None:
            self._status.stop()
        took = time.monotonic() - self._started
        self._out(f"{'stopped' if kind else 'done'}: {self._text} ({took:.1f} s)")

    def _out(self, text: str) -> None:
        self._console.out(text, highlight=False)

"""Progress of a run: a bar on a terminal, a line a step elsewhere."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class Steps:
    """Call it with what begins now; `total` calls fill the bar."""

    def __init__(self, total: int) -> None:
        self._console = Console(stderr=True)
        self._total = total
        self._done = -1
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task = self._bar.add_task("starting", total=total)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self._bar.update(self._task, completed=self._total)
        self._bar.stop()

    def __call__(self, what: str) -> None:
        self._done += 1
        if self._console.is_terminal:
            self._bar.update(self._task, completed=self._done, description=what)
        else:
            self._console.print(f"{self._done + 1}/{self._total} {what}", highlight=False)


class Status:
    """Call it with what is going on now: a line that changes on a terminal, lines elsewhere."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._console = Console(stderr=True)
        self._line = self._console.status(name)

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._line.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._line.stop()

    def __call__(self, what: str) -> None:
        if self._console.is_terminal:
            self._line.update(f"{self._name}: {what}")
        else:
            self._console.print(f"{self._name}: {what}", highlight=False)

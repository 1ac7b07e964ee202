"""Rows on their way from the event loop to the spool's writer thread, and when they are written.

Handing a row over costs the event loop a list append; waking the writer, and its fsync, cost a
hundred times that. So the writer decides when to take: at once when little goes on, so that nobody
waits for company that will not come, and after a moment of gathering when much does, so that many
rows share one fsync. Rows that nobody waits for go along with the next that somebody does.
"""

from __future__ import annotations

import contextlib
import queue
import time
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")
OnDurable = Callable[[Exception | None], None]

GATHER_S = 0.002
BUSY_ROWS_PER_S = 1_000
"""Above this pace of awaited rows they gather: an fsync for each would take a tenth of a core."""
PACE_WINDOW_S = 0.02
UNAWAITED_S = 0.05
"""How long a row may lie that nobody waits for."""


class SpoolQueue(Generic[T]):
    """`put` belongs to one thread, `take` to another."""

    def __init__(self) -> None:
        self.closed = False
        self._rows: list[tuple[T, OnDurable | None]] = []
        self._awaited = False  # of those in _rows, at least one
        self._idle = False  # the writer sleeps until it is woken
        self._wake: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._pace = _Pace()

    def put(self, row: T, on_durable: OnDurable | None) -> None:
        self._rows.append((row, on_durable))
        if on_durable is not None:
            self._wake_up()

    def close(self) -> None:
        """Nothing more will be put; `take` no longer waits."""
        self.closed = True
        self._wake_up()

    def take(self, most: int) -> list[tuple[T, OnDurable | None]]:
        """Wait for rows; return at most so many, in their order. None after a while without any."""
        if not (self._awaited or self.closed):
            self._sleep()
        if self._pace.is_busy(time.monotonic()):
            time.sleep(GATHER_S)
        self._awaited = False
        taken = self._rows[:most]
        del self._rows[: len(taken)]  # not [:most]: more may have come since
        if self._rows:
            self._awaited = True
        self._pace.rows += sum(on_durable is not None for _, on_durable in taken)
        return taken

    def _wake_up(self) -> None:
        self._awaited = True
        if self._idle:
            self._idle = False
            self._wake.put(None)

    def _sleep(self) -> None:
        self._idle = True
        if not self._awaited:  # one may have come before the flag was seen
            with contextlib.suppress(queue.Empty):
                self._wake.get(timeout=UNAWAITED_S)
        self._idle = False


class _Pace:
    """Awaited rows a second, over a window at a time."""

    def __init__(self) -> None:
        self.rows = 0
        self._since_s = 0.0
        self._busy = False

    def is_busy(self, now_s: float) -> bool:
        """Whether the last full window was above the pace at which gathering pays."""
        elapsed_s = now_s - self._since_s
        if elapsed_s >= PACE_WINDOW_S:
            self._busy = self.rows > BUSY_ROWS_PER_S * elapsed_s
            self.rows, self._since_s = 0, now_s
        return self._busy

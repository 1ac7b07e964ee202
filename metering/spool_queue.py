"""Rows on their way from the event loop to the spool's writer thread, and when they are written.

Handing a row over costs the event loop a list append; waking the writer, and its fsync, cost a
hundred times that. So the writer decides when to take: at once when little goes on, so that nobody
waits for company that will not come, and after a moment of gathering when much does, so that many
rows share one fsync. The moment is as long as the event loop takes to hear of a commit: while it is
behind, nobody would hear sooner. Rows that nobody waits for go along with the next that somebody
does.
"""

from __future__ import annotations

import contextlib
import queue
import sys
import time
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")
OnDurable = Callable[[Exception | None], None]

GATHER_S = 0.002
GATHER_MAX_S = 0.02
ENOUGH_ROWS = 32
"""So many awaited ones that an fsync costs each little: they are not kept waiting for more."""
BUSY_ROWS_PER_S = 1_000
"""Above this pace of awaited rows they gather: an fsync for each would take a tenth of a core."""
PACE_WINDOW_S = 0.02
_NEVER = sys.maxsize
UNAWAITED_S = 0.05
"""How long a row may lie that nobody waits for."""


class SpoolQueue(Generic[T]):
    """`put` belongs to one thread, `take` to another."""

    def __init__(self) -> None:
        self.closed = False
        self.told_after_s = 0.0
        """How long the thread that appends took to hear of the last commit."""
        self._rows: list[tuple[T, OnDurable | None]] = []
        self.rows_put = 0
        """Ever."""
        self._put = 0  # awaited ones of them
        self._taken = 0
        self._wake_at = _NEVER  # the writer sleeps until so many were put
        self._wake: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._pace = _Pace()

    def put(self, row: T, on_durable: OnDurable | None = None) -> None:
        self._rows.append((row, on_durable))
        self.rows_put += 1
        if on_durable is not None:
            self._put += 1
            if self._put >= self._wake_at:
                self._wake_up()

    def close(self) -> None:
        """Nothing more will be put; `take` no longer waits."""
        self.closed = True
        self._wake_up()

    def take(self, most: int) -> list[tuple[T, OnDurable | None]]:
        """Wait for rows; return at most so many, in their order. None after a while without any."""
        if self._pace.is_busy(time.monotonic()) or self.told_after_s > GATHER_S:
            self._sleep(ENOUGH_ROWS, min(max(GATHER_S, self.told_after_s), GATHER_MAX_S))
        self._sleep(1, UNAWAITED_S)
        if not self._rows:
            self.told_after_s = 0.0  # of a time that is over
        taken = self._rows[:most]
        del self._rows[: len(taken)]  # not [:most]: more may have come since
        awaited = sum(on_durable is not None for _, on_durable in taken)
        self._taken += awaited
        self._pace.rows += awaited
        return taken

    def _wake_up(self) -> None:
        self._wake_at = _NEVER
        self._wake.put(None)

    def _sleep(self, awaited_rows: int, seconds: float) -> None:
        """Until there are so many, or for so long."""
        wake_at = self._wake_at = self._taken + awaited_rows
        if not (self._put >= wake_at or self.closed):  # asked after it was set: nothing is missed
            with contextlib.suppress(queue.Empty):
                self._wake.get(timeout=seconds)
        self._wake_at = _NEVER
        while not self._wake.empty():
            self._wake.get_nowait()


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

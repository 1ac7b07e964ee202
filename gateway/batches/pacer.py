"""How many lines of batches may run at once on a model's nodes, so that live traffic does not feel
it. Pure.

Two rules, and the lower one holds:

- Room: batches take half at most of what live traffic leaves of the nodes' capacity.
- Window: what live traffic bears, found out by trying. While no line runs, the time to the first
  token of live streams is listened to. Then the window opens, and each size is judged by the
  streams that began under it: it doubles until their p95 is above what was heard in the quiet,
  then it shrinks, at last to nothing, and grows by one. After LISTEN_AGAIN_NS the quiet is
  listened to anew: traffic changes.

Where there is no live traffic, nobody can be slowed: the window grows with each line that ends.
"""

from __future__ import annotations

from collections.abc import Sequence

WINDOW_FIRST = 2
SLOWER_PERCENT_MAX = 110
"""The p95 of live streams beside batches, in per cent of that without them."""
SLACK_NS = 500_000
"""What the clock and the scheduler of a busy machine may add."""
SAMPLES = 64
SAMPLES_MIN = 16
"""Fewer live streams in JUDGE_NS are hardly any traffic."""
JUDGE_NS = 10_000_000_000
LISTEN_NS = 2_000_000_000
LISTEN_AGAIN_NS = 120_000_000_000
PAUSE_NS = 5_000_000_000
"""After a window of a single line was too much."""


class Pacer:
    """Of one model. All times are monotonic."""

    def __init__(self, lines_max: int) -> None:
        self.window = 0
        self._lines_max = lines_max
        self._quiet_p95_ns: int | None = None
        self._listening = True
        self._since_ns: int | None = None
        """Streams that began from here on count; None while lines still run that began before."""
        self._felt = False
        """Live traffic felt a window since the quiet was heard."""
        self._paused_until_ns = 0
        self._listened_ns = 0
        self._samples: list[int] = []

    def room(self, *, capacity: int, live: int, mine: int, now_ns: int) -> bool:
        """May one more line start? `live` and `mine` are requests on the nodes now."""
        if now_ns < self._paused_until_ns:
            return False
        if self._listening:
            self._listen(mine, now_ns)
        elif self._since_ns is not None:
            self._judge(now_ns)
        return mine < min(self.window, max(0, capacity - live) // 2)

    def live_started(self, started_ns: int, ttft_ns: int) -> None:
        """A live stream had its first token."""
        if self._since_ns is not None and started_ns >= self._since_ns:
            self._samples.append(ttft_ns)

    def line_ended(self) -> None:
        """Where there is no live traffic to go by."""
        if not self._listening and self._quiet_p95_ns is None:
            self.window = min(self.window + 1, self._lines_max)

    def _listen(self, mine: int, now_ns: int) -> None:
        if self._since_ns is None:
            if not mine:
                self._since_ns = now_ns
            return
        waited_ns = now_ns - self._since_ns
        if len(self._samples) < SAMPLES and waited_ns < LISTEN_NS:
            return
        if 0 < len(self._samples) < SAMPLES_MIN and waited_ns < JUDGE_NS:
            return
        self._quiet_p95_ns = p95(self._samples) if len(self._samples) >= SAMPLES_MIN else None
        self._listening = False
        self._listened_ns = now_ns
        self._try(WINDOW_FIRST, now_ns)

    def _judge(self, now_ns: int) -> None:
        assert self._since_ns is not None
        few = len(self._samples) < SAMPLES
        if few and now_ns - self._since_ns < JUDGE_NS:
            return
        busy = len(self._samples) >= SAMPLES_MIN
        if busy and (self._quiet_p95_ns is None or now_ns - self._listened_ns > LISTEN_AGAIN_NS):
            self._hush()
        elif not busy:
            self._quiet_p95_ns = None
            self._try(self.window, now_ns)
        elif p95(self._samples) <= self._bearable_ns:
            self._try(self.window + 1 if self._felt else self.window * 2, now_ns)
        elif self.window > 1:
            back = self.window * 3 // 4 if self._felt else self.window // 2
            self._felt = True
            self._try(back, now_ns)
        else:
            self._paused_until_ns = now_ns + PAUSE_NS
            self._hush()

    @property
    def _bearable_ns(self) -> int:
        assert self._quiet_p95_ns is not None
        return self._quiet_p95_ns * SLOWER_PERCENT_MAX // 100 + SLACK_NS

    def _hush(self) -> None:
        """No line starts until the quiet was heard."""
        self._listening = True
        self._felt = False
        self._since_ns = None
        self.window = 0
        self._samples = []

    def _try(self, window: int, now_ns: int) -> None:
        self.window = min(window, self._lines_max)
        self._since_ns = now_ns
        self._samples = []


def p95(samples: Sequence[int]) -> int:
    return sorted(samples)[(len(samples) * 95 - 1) // 100]

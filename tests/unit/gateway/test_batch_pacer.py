"""The pacer finds what live traffic bears, and takes no more than half of what it leaves."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from gateway.batches.pacer import LISTEN_AGAIN_NS, LISTEN_NS, PAUSE_NS, SAMPLES, Pacer, p95

MS = 1_000_000
SECOND = 1000 * MS


class World:
    """Live streams at a steady rate, on a node that answers as `ttft_ms` says of the lines on it.
    As many lines run as the pacer lets.
    """

    def __init__(self, ttft_ms: Callable[[int], float], *, live_per_s: int = 50) -> None:
        self.pacer = Pacer(64)
        self.now_ns = 1
        self.mine = 0
        self.live = 0
        self.capacity = 1000
        self._ttft_ms = ttft_ms
        self._gap_ns = SECOND // live_per_s if live_per_s else 20 * MS
        self._busy = bool(live_per_s)
        self._rng = random.Random(1)

    def run(self, seconds: float) -> list[int]:
        """The lines that ran when each stream began."""
        seen = []
        until_ns = self.now_ns + int(seconds * SECOND)
        while self.now_ns < until_ns:
            self.now_ns += self._gap_ns
            while self._room():
                self.mine += 1
            if self.mine > self.pacer.window:
                self.mine = self.pacer.window
            seen.append(self.mine)
            if self._busy:
                ttft_ns = int(self._ttft_ms(self.mine) * MS * self._rng.uniform(0.98, 1.02))
                self.pacer.live_started(self.now_ns, ttft_ns)
            elif self.mine:
                self.mine -= 1
                self.pacer.line_ended()
        return seen

    def _room(self) -> bool:
        return self.pacer.room(
            capacity=self.capacity, live=self.live, mine=self.mine, now_ns=self.now_ns
        )


def test_no_line_runs_before_the_quiet_was_heard() -> None:
    world = World(lambda lines: 40)
    assert max(world.run(SAMPLES / 50 - 0.1)) == 0
    assert max(world.run(1)) > 0


def test_without_live_traffic_the_window_opens_after_a_moment() -> None:
    world = World(lambda lines: 40, live_per_s=0)
    assert max(world.run(LISTEN_NS / SECOND - 0.1)) == 0
    assert max(world.run(5)) == 64


def test_where_nobody_feels_it_all_lines_run() -> None:
    world = World(lambda lines: 40)
    world.run(20)
    assert world.mine == 64


def test_the_window_stays_where_live_traffic_bears_it() -> None:
    world = World(lambda lines: 40 + lines)  # 10 per cent at four lines
    world.run(30)
    seen = world.run(60)
    assert 2 <= sum(seen) / len(seen) <= 7
    assert max(seen) <= 8


def test_where_one_line_is_too_much_there_are_long_pauses() -> None:
    world = World(lambda lines: 40 if lines == 0 else 80)
    world.run(10)
    seen = world.run(120)
    assert sum(lines > 0 for lines in seen) / len(seen) < 0.4
    assert PAUSE_NS >= 5 * SECOND


def test_traffic_that_became_slower_by_itself_is_listened_to_anew() -> None:
    slow = [40.0]
    world = World(lambda lines: slow[0])
    world.run(20)
    slow[0] = 80.0
    world.run(LISTEN_AGAIN_NS / SECOND + 30)
    assert world.mine > 16


@pytest.mark.parametrize(("capacity", "live", "most"), [(64, 0, 32), (64, 60, 2), (8, 9, 0)])
def test_half_of_what_live_traffic_leaves_is_the_most(capacity: int, live: int, most: int) -> None:
    world = World(lambda lines: 40, live_per_s=0)
    world.capacity, world.live = capacity, live
    assert max(world.run(10)) == most


def test_p95_is_a_sample() -> None:
    assert p95(range(1, 101)) == 95
    assert p95([7]) == 7

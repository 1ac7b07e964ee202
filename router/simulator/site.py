"""A node as it truly is: what the router only learns of through what happens to requests."""

from bisect import bisect_right

import msgspec

from router.simulator.engine import Engine
from router.simulator.gpu_class import GpuClass
from router.types import NodeRecord


class Habit(msgspec.Struct, frozen=True, kw_only=True):
    """How a node cheats. All defaults: it is honest."""

    stalls: float = 0.0
    """This share of its streams stops before its end, and the connection stays."""
    inflates: float = 0.0
    """It claims this share more tokens than it generated."""
    serves_smaller: bool = False
    """Another model than it says."""


HONEST = Habit()


class Site:
    """`slow`: (from, until, factor), not overlapping, in order of time. `down`: (from, until) when
    the process is not there. `away`: (from, until) when it is not listed.
    """

    def __init__(
        self,
        record: NodeRecord,
        gpu: GpuClass,
        rtt_ns: int,
        *,
        slow: tuple[tuple[int, int, float], ...] = (),
        down: tuple[tuple[int, int], ...] = (),
        away: tuple[tuple[int, int], ...] = (),
        lies: bool = False,
        habit: Habit = HONEST,
    ) -> None:
        self.record = record
        self.rtt_ns = rtt_ns
        self.down = down
        self.away = away
        self.lies = lies
        """Its counters say that it is idle."""
        self.habit = habit
        self.requests = 0
        """That it was sent."""
        self.engine = Engine(gpu, self.slowness)
        self.alive = True
        self.in_transit_tokens = 0
        """Prompts that are on their way to it."""
        self.served_tokens = 0
        """Of prompts and answers."""
        self.version = 0
        """Grows with each plan of the engine: an event of an older one is void."""
        self._slow = slow
        self._slow_from = [episode[0] for episode in slow]

    def slowness(self, now_ns: int) -> float:
        index = bisect_right(self._slow_from, now_ns) - 1
        if index < 0 or now_ns >= self._slow[index][1]:
            return 1.0
        return self._slow[index][2]

    def dies_within(self, from_ns: int, until_ns: float) -> bool:
        return any(start <= until_ns and end > from_ns for start, end in self.down)

"""Where lines of batches wait until live traffic leaves room for them."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable

from gateway.batches.pacer import Pacer
from gateway.exchange.exchange import Exchange
from router.router import Router
from router.types import Condition

START_GAP_S = 0.005
"""Between two starts: what a line costs this process is then a tenth of a core at most."""
LOOK_S = 0.02
"""How often those that wait look for room."""


class Gate:
    """`has_room` says whether the gateway itself has, beside its nodes; `is_coming` of a model
    without any whether one is started for who asks.
    """

    def __init__(
        self,
        router: Router,
        lines_max: int,
        has_room: Callable[[], bool],
        is_coming: Callable[[str], bool],
    ) -> None:
        self._router = router
        self._has_room = has_room
        self._is_coming = is_coming
        self._lines_max = lines_max
        self._pacers: dict[str, Pacer] = {}
        self._mine: defaultdict[str, int] = defaultdict(int)
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def enter(self, model: str, stopping: asyncio.Event) -> Turn | None:
        """In the order in which they came. None: it was told to stop."""
        async with self._turns[model]:
            pacer = self._pacers.setdefault(model, Pacer(self._lines_max))
            while not stopping.is_set():
                await asyncio.sleep(START_GAP_S)
                if self._room(model, pacer):
                    self._mine[model] += 1
                    return Turn(lambda: self._leave(model, pacer))
                await asyncio.sleep(LOOK_S)
        return None

    def keep_only(self, models: set[str | None]) -> None:
        """Batches of these models run: for the others nothing is to be listened to."""
        for model in self._pacers.keys() - models:
            del self._pacers[model]

    def ended(self, exchange: Exchange) -> None:
        """Of every exchange, once; lines of batches are no streams."""
        if not self._pacers or not exchange.question.stream:
            return
        pacer = self._pacers.get(exchange.question.model)
        ttft_ns = exchange.ttft_ns
        if pacer is not None and ttft_ns is not None:
            pacer.live_started(exchange.started_ns, ttft_ns)

    def _room(self, model: str, pacer: Pacer) -> bool:
        if not self._has_room():
            return False
        now_ns, mine = time.monotonic_ns(), self._mine[model]
        ready = [
            view
            for view in self._router.nodes(now_ns)
            if view.node.model == model and view.condition(now_ns) is Condition.READY
        ]
        if not ready and self._is_coming(model):
            return not mine  # one line wakes it
        return pacer.room(
            capacity=sum(view.node.capacity for view in ready),
            live=max(0, sum(view.in_flight for view in ready) - mine),
            mine=mine,
            now_ns=now_ns,
        )

    def _leave(self, model: str, pacer: Pacer) -> None:
        self._mine[model] -= 1
        pacer.line_ended()


class Turn:
    """One line on its way to a node."""

    def __init__(self, left: Callable[[], None]) -> None:
        self._left: Callable[[], None] | None = left

    def leave(self) -> None:
        """It is on no node any more. Again changes nothing."""
        left, self._left = self._left, None
        if left is not None:
            left()

"""Follows every exchange under way: deadlines, the count, and the word to others at its end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from gateway.drivers.driver import Driver
from gateway.exchange.exchange import Exchange

SWEEP_INTERVAL_S = 0.25
"""One timer for all deadlines: a timer for each request would cost more than it is precise."""


class Watch:
    """A `driver.Watcher`."""

    def __init__(self) -> None:
        self._under_way: set[Driver] = set()
        self._finished: tuple[Callable[[Exchange], None], ...] = ()
        self._also: Callable[[int], None] | None = None

    def report_to(self, *finished: Callable[[Exchange], None]) -> None:
        """Who hears of every exchange that ended, once."""
        self._finished = finished

    def also_sweep(self, sweep: Callable[[int], None]) -> None:
        """Call this with the time, too: client connections have deadlines of their own."""
        self._also = sweep

    @property
    def count(self) -> int:
        return len(self._under_way)

    def began(self, driver: Driver) -> None:
        self._under_way.add(driver)

    def ended(self, driver: Driver) -> None:
        if driver not in self._under_way:
            return
        self._under_way.remove(driver)
        for finished in self._finished:
            finished(driver.exchange)

    async def sweep(self) -> None:
        """Runs for the gateway's lifetime."""
        while True:
            await asyncio.sleep(SWEEP_INTERVAL_S)
            now_ns = time.monotonic_ns()
            for driver in list(self._under_way):
                driver.sweep(now_ns)
            if self._also is not None:
                self._also(now_ns)

    def cut(self) -> None:
        """End what is still under way: its clients are dropped, and charged for what they got."""
        for driver in list(self._under_way):
            driver.client_gone()
            driver.drop()

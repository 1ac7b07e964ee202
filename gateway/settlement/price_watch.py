"""The price of IO for whoever closes epochs: fixed, or watched all the time, as an oracle must."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from gateway.settlement.config import PriceOfIo
from ide.oracle import Round, next_rounds, price_nano_usd
from ide.price_sources import OracleConfig, read_quotes

log = logging.getLogger("tollgate")

ROUND_S = 60.0
LOOK_S = 1.0


class PriceWatch:
    """Reads the oracle's sources only while this gateway is the one that needs them."""

    def __init__(self, price: PriceOfIo) -> None:
        self._price = price
        self._rounds: tuple[Round, ...] = ()
        self._read_at_s: float | None = None
        self._failing: set[str] = set()

    @property
    def ready(self) -> bool:
        """Were the sources asked since this gateway needs them?"""
        return self._price.oracle is None or self._read_at_s is not None

    @property
    def failing(self) -> int:
        """Sources that did not answer when they were asked last."""
        return len(self._failing)

    def now_nano_usd(self) -> int | None:
        """USD for one IO, None if there is no price now."""
        oracle = self._price.oracle
        if oracle is None:
            return self._price.fixed_nano_usd
        return price_nano_usd(self._rounds, time.time_ns(), oracle)

    async def run(self, needed: Callable[[], bool]) -> None:
        """For the gateway's lifetime."""
        oracle = self._price.oracle
        while oracle is not None:
            if not needed():
                self._rounds, self._read_at_s = (), None
            elif self._read_at_s is None or time.monotonic() - self._read_at_s >= ROUND_S:
                await self._round(oracle)
            await asyncio.sleep(LOOK_S)

    async def _round(self, oracle: OracleConfig) -> None:
        now_ns = time.time_ns()
        quotes, failures = await asyncio.to_thread(read_quotes, oracle.sources, now_ns)
        self._rounds = next_rounds(self._rounds, quotes, now_ns, oracle)
        self._read_at_s = time.monotonic()
        for failure in failures:
            if failure.source not in self._failing:
                log.warning("price source '%s': %s", failure.source, failure.problem)
        self._failing = {failure.source for failure in failures}


def read_once(price: PriceOfIo) -> int | None:
    """The price of this moment alone, None if there is none. May take as long as its sources do."""
    oracle = price.oracle
    if oracle is None:
        return price.fixed_nano_usd
    now_ns = time.time_ns()
    quotes, _ = read_quotes(oracle.sources, now_ns)
    return price_nano_usd(next_rounds((), quotes, now_ns, oracle), now_ns, oracle)

"""How long a stream waits at its end until its charge is durable."""

from __future__ import annotations

import asyncio
import statistics
import time
from pathlib import Path

import msgspec

from metering.spool import Spool

from .ledger_pace import close_of, open_of

STREAMS = 64


class Waits(msgspec.Struct, frozen=True):
    posts: int
    p50_s: float
    p99_s: float
    per_s: float


async def durable_posts(folder: Path, seconds: float, *, think_s: float) -> Waits:
    """64 streams beside each other. Each records its OPEN, streams for a while (`think_s`), records
    its end, and waits for both; what is told is the wait at the end.
    """
    spool = Spool(folder)
    loop = asyncio.get_running_loop()
    spool.start(loop.call_soon_threadsafe)
    waits: list[float] = []
    until = loop.time() + seconds

    async def recorded(row) -> None:
        durable: asyncio.Future[None] = loop.create_future()
        spool.append(row, lambda error: durable.set_result(error))
        assert await durable is None

    async def stream(index: int) -> None:
        await asyncio.sleep(think_s * index / STREAMS)
        number = 0
        while loop.time() < until:
            number += 1
            name = f"{index}-{number}"
            await recorded(open_of(name, index))
            await asyncio.sleep(think_s)
            begun = time.perf_counter()
            await recorded(close_of(name))
            waits.append(time.perf_counter() - begun)

    await asyncio.gather(*(stream(index) for index in range(STREAMS)))
    spool.close()
    cuts = statistics.quantiles(waits, n=100)
    return Waits(len(waits), statistics.median(waits), cuts[98], len(waits) / seconds)

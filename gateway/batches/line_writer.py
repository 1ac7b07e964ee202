"""Answers of lines on their way to the database, as many in one transaction as have come."""

from __future__ import annotations

import asyncio

from gateway.batches.line_store import Line, LineStore
from gateway.patience import until_answered
from metering.lease import LeaseLostError

GATHER_S = 0.005


class LineWriter:
    def __init__(self, store: LineStore) -> None:
        self._store = store
        self._answered: list[tuple[Line, asyncio.Future[bool]]] = []
        self._done: list[tuple[str, int]] = []
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    async def keep(self, line: Line) -> bool:
        """Durable once it returns. False: the line has another answer, and this one is void.
        Raises LeaseLostError.
        """
        kept: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._answered.append((line, kept))
        self._awake()
        return await kept

    def done(self, batch_id: str, number: int) -> None:
        """The charge of its answer is durable."""
        self._done.append((batch_id, number))
        self._awake()

    async def written(self) -> None:
        """All that was handed over is in the database."""
        await self._idle.wait()

    def _awake(self) -> None:
        self._idle.clear()
        self._wake.set()

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            await asyncio.sleep(GATHER_S)
            await self._write()
            if not self._answered and not self._done:
                self._idle.set()

    async def _write(self) -> None:
        answered, self._answered = self._answered, []
        done, self._done = self._done, []
        lines = [line for line, _ in answered]
        try:
            kept = await until_answered(lambda: asyncio.to_thread(self._store.write, lines, done))
        except LeaseLostError as error:
            for _, future in answered:
                if not future.done():
                    future.set_exception(error)
            return
        for line, future in answered:
            if not future.done():
                future.set_result((line.batch_id, line.number) in kept)

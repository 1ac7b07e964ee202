"""Runs the batches, in one of all gateways on a ledger's database: the one with the lease."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable

from gateway.batches.runner import BatchRunner, Workshop
from gateway.patience import until_answered
from metering.lease import Lease, LeaseLostError
from metering.ledger import LedgerError

log = logging.getLogger("tollgate")

LOOK_S = 1.0
LEASE_S = 10
RUNNING_MAX = 64
"""Batches at once; later ones wait."""
STOP_S = 5.0
AGAIN_S = 10.0
"""Until a batch that failed for a reason of ours is tried again."""


class Leader:
    """`booked` returns once the ledger has all that is in this gateway's spool."""

    def __init__(self, shop: Workshop, lease: Lease, booked: Callable[[], Awaitable[None]]) -> None:
        self._shop = shop
        self._lease = lease
        self._booked = booked
        self._created = asyncio.Event()
        self._leads = False
        self._settled = False
        self._running: dict[str, tuple[BatchRunner, asyncio.Task[None]]] = {}
        self._again_s: dict[str, float] = {}

    def created(self) -> None:
        """There is something new to run."""
        self._created.set()

    async def run(self) -> None:
        """For the gateway's lifetime; at its end what has its answer is kept."""
        writing = asyncio.create_task(self._shop.means.writer.run())
        try:
            while True:
                try:
                    await self._look()
                except LedgerError as error:
                    log.warning("batches wait for the ledger: %s", error)
                except LeaseLostError:
                    await self._step_down()
                await self._wait()
        finally:
            with contextlib.suppress(TimeoutError):  # the ledger is away: the next start sorts it
                async with asyncio.timeout(STOP_S):
                    await self._stop()
                    await self._shop.means.writer.written()
            writing.cancel()

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(LOOK_S):
                await self._created.wait()
        except TimeoutError:
            return
        self._created.clear()

    async def _look(self) -> None:
        """Raises LedgerError and LeaseLostError."""
        self._reap()
        shop = self._shop
        if not await asyncio.to_thread(shop.batches.any_unfinished):
            if self._leads and not self._running:
                await asyncio.to_thread(self._lease.leave)
                self._leads = False
            return
        if not self._settled:
            await self._settle()
        leads = await asyncio.to_thread(self._lease.stand)
        if self._leads and not leads:
            raise LeaseLostError(shop.holder)
        self._leads = leads
        if leads:
            await self._run_all()

    async def _settle(self) -> None:
        """What an earlier life left half done, before anything is run."""
        await self._booked()
        paid, again = await until_answered(lambda: asyncio.to_thread(self._shop.line_store.settle))
        if paid or again:
            log.info("batches: %d lines had been charged, %d run again", paid, again)
        self._settled = True

    async def _run_all(self) -> None:
        batches = await asyncio.to_thread(self._shop.batches.unfinished, RUNNING_MAX)
        for batch in batches:
            running = self._running.get(batch.batch_id)
            if running is not None:
                running[0].seen(batch)
            elif self._again_s.get(batch.batch_id, 0.0) <= time.monotonic():
                runner = BatchRunner(self._shop, batch)
                self._running[batch.batch_id] = runner, asyncio.create_task(runner.run())
        models = {runner.batch.model for runner, _ in self._running.values()}
        self._shop.means.gate.keep_only(models)

    def _reap(self) -> None:
        """Raises LeaseLostError."""
        for batch_id, (_, task) in list(self._running.items()):
            if not task.done():
                continue
            del self._running[batch_id]
            self._again_s.pop(batch_id, None)
            error = task.exception()
            if isinstance(error, LeaseLostError):
                raise error
            if error is not None:
                log.error("%s is tried again in %d s", batch_id, AGAIN_S, exc_info=error)
                self._again_s[batch_id] = time.monotonic() + AGAIN_S

    async def _step_down(self) -> None:
        log.warning("another gateway runs the batches now")
        self._leads = self._settled = False
        await self._stop()

    async def _stop(self) -> None:
        for runner, _ in self._running.values():
            runner.stop()
        tasks = [task for _, task in self._running.values()]
        await asyncio.gather(*tasks, return_exceptions=True)
        self._running.clear()

"""Closes epochs when their time is over: in one gateway of all that share a ledger.

Which one, a lease in the ledger's database says. That two never book one epoch is not its doing but
the ledger's: an epoch is one transaction under its number. So a leader that stops in the middle, or
wakes late, does no harm; the lease only spares the others the work.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from pathlib import Path

from gateway.home import Home
from gateway.settlement.close import Outcome, Told
from gateway.settlement.close_child import close_epoch
from gateway.settlement.config import SettlementConfig
from gateway.settlement.params_file import params_of_file
from gateway.settlement.price_watch import LOOK_S, PriceWatch
from gateway.settlement.timetable import Timetable, boundary_after
from ide.closing_time import NextEpoch, next_epoch
from ide.params import IdeParams, ParamsError
from metering.database import Database
from metering.lease import Lease
from metering.ledger import Ledger, LedgerError

log = logging.getLogger("tollgate")

LEASE = "settlement"
SOON_S = 5.0
"""After one that got no answer, or whose process died: that may be over, and each try costs."""
AGAIN_S = 60.0
"""After a closing that was refused: somebody has to see to it, and may have."""


class Settler:
    def __init__(
        self,
        home: Home,
        config: SettlementConfig,
        prices: PriceWatch,
        where: Path | str,
        *,
        ledger: Ledger,
        database: Database,
        holder: str,
    ) -> None:
        self._home = home
        self.prices = prices
        self._where = where
        self._ledger = ledger
        self._beat_s = config.lease_s / 3
        self._lease = Lease(
            database,
            LEASE,
            holder,
            lease_s=config.lease_s,
            monotonic_ns=time.monotonic_ns,
            wall_ns=time.time_ns,
        )
        self.leads = False
        """It is the one gateway of all that closes epochs."""
        self._timetable = Timetable()
        self._closing: asyncio.Task[Told] | None = None
        self._epoch = 0
        """The one that is being closed, or was last."""

    async def run(self) -> None:
        """For the gateway's lifetime."""
        watching = asyncio.create_task(self.prices.run(lambda: self.leads))
        try:
            while True:
                pause_s = self._beat_s
                try:
                    pause_s = min(pause_s, await self._look())
                except LedgerError as error:
                    log.warning("epochs wait for the ledger: %s", error)
                except ParamsError as error:
                    log.error("no epoch is closed: %s", error)
                await self._wait(pause_s)
        finally:
            watching.cancel()
            await self._stop()

    async def _look(self) -> float:
        """One turn. Returns for how many seconds there is nothing to do but hold the lease."""
        await self._elect()
        if self._closing is not None and self._closing.done():
            self._told(self._closing.result())
            self._closing = None
        if not self.leads or self._closing is not None:
            return self._beat_s
        if not self.prices.ready:
            return LOOK_S
        params = await asyncio.to_thread(params_of_file, self._home.ide_file)
        following = await asyncio.to_thread(next_epoch, self._ledger)
        if following is None:
            return self._beat_s
        now_ns = time.time_ns()
        closes_ns = self._timetable.closes_ns(following, params.epoch_s, now_ns)
        if now_ns < closes_ns:
            return (closes_ns - now_ns) / 1e9
        # a quiet epoch is not closed, and not looked at again before the next would be
        self._timetable.put_off(boundary_after(now_ns, params.epoch_s))
        self._epoch = following.epoch
        self._closing = asyncio.create_task(self._close(following, params, now_ns))
        return self._beat_s

    async def _elect(self) -> None:
        led = self.leads
        self.leads = await asyncio.to_thread(self._lease.stand)
        if self.leads and not led:
            log.info("this gateway closes the epochs from now on")
        elif led and not self.leads:
            log.info("another gateway closes the epochs from now on")

    async def _wait(self, pause_s: float) -> None:
        """Until the pause or the closing under way is over, whichever is first."""
        if self._closing is None:
            await asyncio.sleep(pause_s)
        else:
            await asyncio.wait([self._closing], timeout=pause_s)

    async def _close(self, following: NextEpoch, params: IdeParams, now_ns: int) -> Told:
        return await close_epoch(
            self._where,
            params=params,
            io_price_nano_usd=self.prices.now_nano_usd(),
            epoch=following.epoch,
            now_ns=now_ns,
        )

    def _told(self, told: Told) -> None:
        if told.outcome is Outcome.SETTLED:
            log.info("epoch %d is settled", self._epoch)
        elif told.outcome is Outcome.AWAY:
            self._timetable.put_off(time.time_ns() + int(SOON_S * 1e9))
            log.warning(
                "epoch %d could not be closed, and is tried again: %s", self._epoch, told.problem
            )
        elif told.outcome is Outcome.REFUSED:
            self._timetable.put_off(time.time_ns() + int(AGAIN_S * 1e9))
            log.error("epoch %d cannot be closed: %s", self._epoch, told.problem)

    async def _stop(self) -> None:
        if self._closing is not None:
            self._closing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._closing
        try:
            await asyncio.to_thread(self._lease.leave)
        except LedgerError as error:
            log.warning("another gateway closes epochs once this one's lease is over: %s", error)

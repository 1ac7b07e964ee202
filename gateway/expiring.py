"""The gateway's part in releasing holds whose time is over: it looks now and then."""

from __future__ import annotations

import asyncio
import logging
import time

from metering.expirer import Expirer
from metering.ledger import Ledger, LedgerError

log = logging.getLogger("tollgate")

EXPIRE_INTERVAL_S = 600.0


async def keep_expiring(ledger: Ledger) -> None:
    """Runs for the gateway's lifetime, in one of its workers. Nobody need be told: who is short of
    credit asks the ledger.
    """
    expirer = Expirer(ledger)
    while True:
        try:
            released = await asyncio.to_thread(expirer.run, time.time_ns())
        except LedgerError as error:
            log.warning("holds whose time is over stand until the ledger answers: %s", error)
        else:
            if released:
                log.info("%d holds were released: nobody resolved them in time", len(released))
        await asyncio.sleep(EXPIRE_INTERVAL_S)

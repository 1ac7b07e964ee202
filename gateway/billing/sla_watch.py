"""The gateway's part in SLAs: it judges what is over, now and then."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence

from metering.ledger import LedgerError
from metering.money import format_usd
from metering.sla import Objective
from metering.sla_book import SlaBook

log = logging.getLogger("tollgate")

SLA_INTERVAL_S = 300.0


async def keep_judging(book: SlaBook, objectives: Sequence[Objective]) -> None:
    """Runs for the gateway's lifetime. Others may too: what is judged twice is booked once."""
    while objectives:
        for objective in objectives:
            try:
                verdicts = await asyncio.to_thread(book.run, objective, time.time_ns())
            except LedgerError as error:
                log.warning("SLA '%s' waits for the ledger: %s", objective.name, error)
                continue
            for verdict in verdicts:
                if verdict.missed:
                    log.warning(
                        "SLA '%s' was missed for '%s' in %s: %s USD credited",
                        verdict.sla,
                        verdict.account,
                        verdict.period,
                        format_usd(verdict.credit_nano_usd),
                    )
        await asyncio.sleep(SLA_INTERVAL_S)

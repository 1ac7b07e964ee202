"""Looks whose balance fell below the threshold that the operator set, and says so in the log."""

from __future__ import annotations

import asyncio
import logging
import time

from metering.customer_store import CustomerStore
from metering.ledger import LedgerError
from metering.money import format_usd

log = logging.getLogger("tollgate")

LOOK_S = 2.0
"""Apart from the way of a request, which it costs nothing. Of all gateways one tells each."""


async def watch_balances(store: CustomerStore) -> None:
    """Until cancelled. While the ledger is away there is nothing to tell."""
    while True:
        await asyncio.sleep(LOOK_S)
        try:
            warnings = await asyncio.to_thread(store.warn, time.time_ns())
        except LedgerError:
            continue
        for warning in warnings:
            log.warning(
                "account '%s' has %s USD available, less than the %s it is to be warned at",
                warning.account,
                format_usd(warning.available_nano_usd),
                format_usd(warning.threshold_nano_usd),
            )

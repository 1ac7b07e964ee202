"""Asking the ledger's database for as long as it is away, for what cannot be done without it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from metering.ledger import LedgerError

log = logging.getLogger("tollgate")

AGAIN_S = 1.0

Answer = TypeVar("Answer")


async def until_answered(ask: Callable[[], Awaitable[Answer]]) -> Answer:
    """Its first answer that is not a LedgerError."""
    told = False
    while True:
        try:
            return await ask()
        except LedgerError as error:
            if not told:
                log.warning("the ledger is away, asking again until it is back: %s", error)
            told = True
        await asyncio.sleep(AGAIN_S)

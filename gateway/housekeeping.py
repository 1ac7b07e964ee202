"""What a gateway does for the books now and then, in one of its workers."""

from __future__ import annotations

import asyncio
import logging
import time

from gateway.responses.background import LOST_NS, lost
from metering.answer_store import AnswerStore
from metering.database import Database
from metering.expirer import Expirer
from metering.ledger import Ledger, LedgerError
from metering.response_store import ResponseStore
from metering.usage_hours import sum_up

log = logging.getLogger("tollgate")

EXPIRE_INTERVAL_S = 600.0
SUM_INTERVAL_S = 30.0
RESPONSES_INTERVAL_S = 60.0


async def keep_expiring(ledger: Ledger) -> None:
    """Holds whose time is over are released. Nobody need be told: who is short of credit asks the
    ledger. Runs for the gateway's lifetime.
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


async def keep_answers_forgotten(store: AnswerStore) -> None:
    """Answers under an Idempotency-Key go after a day. Runs for the gateway's lifetime."""
    while True:
        try:
            await asyncio.to_thread(store.forget, time.time_ns())
        except LedgerError as error:
            log.warning("answers that are kept too long go when the ledger answers: %s", error)
        await asyncio.sleep(EXPIRE_INTERVAL_S)


async def keep_summed(database: Database) -> None:
    """Usage is summed by the hour, so that asking for it stays quick. Runs for the gateway's
    lifetime.
    """
    while True:
        try:
            await asyncio.to_thread(sum_up, database)
        except LedgerError as error:
            log.warning("usage is not summed, asking for it takes longer: %s", error)
        await asyncio.sleep(SUM_INTERVAL_S)


async def keep_responses_tidy(store: ResponseStore) -> None:
    """Kept responses expire, and those whose gateway is gone have failed. Runs for the gateway's
    lifetime.
    """
    while True:
        await asyncio.sleep(RESPONSES_INTERVAL_S)
        try:
            await asyncio.to_thread(tidy_responses, store, time.time_ns())
        except LedgerError as error:
            log.warning("responses are kept beyond their time until the ledger answers: %s", error)


def tidy_responses(store: ResponseStore, now_ns: int) -> None:
    """Raises LedgerError."""
    store.expire(now_ns)
    for kept in store.lost(now_ns - LOST_NS):
        store.finish(lost(kept))

"""What is owed to the store of kept answers while its database is away, done once it is back."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable

import msgspec

from metering.answer_store import RUNNING_NS
from metering.ledger import LedgerError

log = logging.getLogger("tollgate")

_AGAIN_FIRST_S = 0.1
_AGAIN_MAX_S = 5.0
_BEFORE_VOID_S = 60.0
"""So long before a claim is void by the store's clock, it is given up: another may have it then."""


class Place(msgspec.Struct, frozen=True, gc=False):
    """A claim of ours."""

    account: str
    name: str
    given_up_s: float
    """By the monotonic clock."""


def place_of(account: str, name: str) -> Place:
    """Of a claim made just now."""
    return Place(account, name, time.monotonic() + RUNNING_NS / 1e9 - _BEFORE_VOID_S)


Work = Callable[[str, str], None]
"""Asks the store, for the account and name of a place; blocks. Raises LedgerError."""


class Arrears:
    """Of one event loop. Works are done in the order in which they are asked for as soon as one has
    to wait: what is said of a claim later must not be done before.

    There are never more than requests were under way when the database went: no claim is made
    without it.
    """

    def __init__(self) -> None:
        self._owed: deque[tuple[Place, Work]] = deque()
        self._paying: asyncio.Task[None] | None = None

    async def do(self, place: Place, work: Work) -> None:
        """Returns once it is done, or owed."""
        if not self._owed:
            try:
                await asyncio.to_thread(work, place.account, place.name)
                return
            except LedgerError as error:
                log.warning("what is kept under an Idempotency-Key waits for the ledger: %s", error)
        self._owed.append((place, work))
        if self._paying is None:
            self._paying = asyncio.get_running_loop().create_task(self._pay())

    async def _pay(self) -> None:
        again_s = _AGAIN_FIRST_S
        while self._owed:
            place, work = self._owed[0]
            if time.monotonic() > place.given_up_s:
                log.warning("an answer under an Idempotency-Key is not kept: its claim is void")
                self._owed.popleft()
                continue
            try:
                await asyncio.to_thread(work, place.account, place.name)
            except LedgerError:
                await asyncio.sleep(again_s)
                again_s = min(2 * again_s, _AGAIN_MAX_S)
            else:
                self._owed.popleft()
                again_s = _AGAIN_FIRST_S
        self._paying = None

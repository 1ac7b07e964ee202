"""Spools of workers that there are none of any more: closed and booked, as their own would."""

from __future__ import annotations

import logging
import time

from metering.ledger import Ledger
from metering.poster import Poster
from metering.spool import Spool

log = logging.getLogger("tollgate")


class Leftovers:
    """Nothing that was recorded is forgotten because fewer workers serve than did once."""

    def __init__(self, spools: list[Spool], ledger: Ledger) -> None:
        self._ledger = ledger
        self._spools = spools
        self._posters: dict[Spool, Poster] = {}

    def book(self, now_ns: int, within_s: float) -> list[str]:
        """Close what was open, and let go of every spool that the ledger has all of in this time;
        returns their writers. The others are booked as soon as it takes them. Raises SpoolError
        and LedgerError.
        """
        booked: list[str] = []
        deadline_s = time.monotonic() + within_s
        for spool in list(self._spools):
            if crashed := spool.recover(now_ns):
                log.warning("%d charges were open in %s: closed", crashed, spool.path.name)
            spool.start(lambda call: None)
            self._posters[spool] = poster = Poster(spool, self._ledger, lambda updates: None)
            poster.start()
            if poster.drain(max(0.0, deadline_s - time.monotonic())):
                booked.append(spool.writer)
                self._let_go(spool)
        return booked

    def close(self) -> None:
        for spool in list(self._spools):
            if rows := spool.backlog:
                log.warning("%d rows wait in %s for the next start", rows, spool.path.name)
            self._let_go(spool)

    def _let_go(self, spool: Spool) -> None:
        self._spools.remove(spool)
        if poster := self._posters.pop(spool, None):
            poster.stop()
        spool.close()

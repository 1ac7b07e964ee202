"""Brings what the price book says to the models on sale, while requests are served.

A price is set at least LEAD_NS ahead and looked for every second, so each gateway knows it by the
moment it takes effect, and goes over to it by its clock alone.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from typing import Protocol

from gateway.admission.catalogue import Catalogue
from metering.ledger import LedgerError
from metering.price_book import Tariff
from metering.price_store import PriceEntry

log = logging.getLogger("tollgate")

LOOK_S = 1.0


class PriceSource(Protocol):
    def load(self, after_seq: int = 0) -> list[PriceEntry]: ...


class PriceBoard:
    def __init__(self, source: PriceSource, catalogue: Catalogue) -> None:
        self._source = source
        self._catalogue = catalogue
        self._tariffs: defaultdict[str, list[Tariff]] = defaultdict(list)
        self._seq = 0

    async def reload(self) -> list[PriceEntry]:
        """Take up what was set since the last time, and return it. Raises LedgerError."""
        entries = await asyncio.to_thread(self._source.load, self._seq)
        for entry in entries:
            self._tariffs[entry.tariff.model].append(entry.tariff)
            self._seq = entry.seq
        for model_id in {entry.tariff.model for entry in entries}:
            model = self._catalogue.get(model_id)
            if model is not None:
                model.reprice(self._tariffs[model_id])
        return entries

    async def keep_current(self) -> None:
        """Look for new prices for ever. Without the database the known ones hold on."""
        away = False
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                entries = await self.reload()
            except LedgerError as error:
                if not away:
                    log.warning("prices cannot be looked up, the known ones hold on: %s", error)
                away = True
                continue
            away = False
            for entry in entries:
                late_ns = time.time_ns() - entry.tariff.effective_ns
                if late_ns > 0:
                    log.warning("price '%s' was read %d ms late", entry.id, late_ns // 10**6)

"""Removes files whose time is over."""

from __future__ import annotations

import asyncio
import logging
import time

from gateway.files.file_store import FileStore
from gateway.files.folder import FileFolder
from metering.ledger import LedgerError

log = logging.getLogger("tollgate")

INTERVAL_S = 600.0
AT_ONCE = 100


class Keeper:
    def __init__(self, store: FileStore, folder: FileFolder) -> None:
        self._store = store
        self._folder = folder

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            try:
                while await asyncio.to_thread(self.remove_some, time.time_ns()):
                    pass
            except (LedgerError, OSError) as error:
                log.warning("files whose time is over are kept on: %s", error)
            await asyncio.sleep(INTERVAL_S)

    def remove_some(self, now_ns: int) -> bool:
        """False if that was all. Blocks. Raises LedgerError and OSError."""
        file_ids = self._store.delete_expired(now_ns, AT_ONCE)
        for file_id in file_ids:
            self._folder.remove(file_id)
        self._folder.remove_abandoned()
        return len(file_ids) == AT_ONCE

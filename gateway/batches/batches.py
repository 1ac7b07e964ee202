"""Files and batches: all of it, built, run and closed. `Gateway` holds one."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from gateway.admission.admission import Admission
from gateway.admission.catalogue import Catalogue
from gateway.admission.keyring import Keyring
from gateway.batches.batch_store import LEASE, BatchStore
from gateway.batches.gate import Gate
from gateway.batches.leader import LEASE_S, Leader
from gateway.batches.line_run import Means
from gateway.batches.line_store import LineStore
from gateway.batches.line_writer import LineWriter
from gateway.batches.runner import Workshop
from gateway.books import Books
from gateway.config import Config
from gateway.config_error import ConfigError
from gateway.drivers.desk import DeskOf
from gateway.drivers.held import HeldDriver
from gateway.exchange.exchange import Exchange
from gateway.files.file_store import FileStore
from gateway.files.folder import FileFolder
from gateway.files.keeper import Keeper
from gateway.home import Home
from metering.backend import open_database
from metering.lease import Lease
from router.router import Router


class Batches:
    """Raises LedgerError, and ConfigError if the files' folder cannot be made."""

    def __init__(
        self,
        home: Home,
        config: Config,
        *,
        books: Books,
        admission: Admission,
        keyring: Keyring,
        catalogue: Catalogue,
        router: Router,
        new_driver: Callable[[Exchange], HeldDriver],
    ) -> None:
        self._database = open_database(config.ledger.where(home))
        """Its own: what many lines write must not hold up who looks for a key."""
        self.folder = _folder(config.files.where(home))
        self.files = FileStore(self._database)
        self.store = BatchStore(self._database)
        self._keeper = Keeper(self.files, self.folder)
        lines = LineStore(self._database, self.store, books.writer)

        def has_room() -> bool:
            till, most = books.till, config.server.open_requests_max
            return (
                not admission.draining
                and till.recording
                and till.open_charges < most // 2
                and till.backlog_rows < till.rows_max // 2
            )

        lines_max = config.batches.concurrency_max
        self.gate = Gate(router, lines_max, has_room, admission.waking.is_coming)
        desk = DeskOf(admission, new_driver, _untold, batch=True)
        means = Means(desk, self.gate, LineWriter(lines), keyring, time.time_ns)
        shop = Workshop(
            batches=self.store,
            line_store=lines,
            folder=self.folder,
            means=means,
            catalogue=catalogue,
            holder=books.writer,
            line_bytes_max=admission.body_bytes_max,
            lines_max=lines_max,
        )
        lease = Lease(
            self._database,
            LEASE,
            books.writer,
            lease_s=LEASE_S,
            monotonic_ns=time.monotonic_ns,
            wall_ns=time.time_ns,
        )
        self._leader = Leader(shop, lease, books.booked)
        self.created = self._leader.created

    async def run(self) -> None:
        """For the gateway's lifetime."""
        await self._leader.run()

    async def keep_files(self) -> None:
        """For the lifetime of one of its workers."""
        await self._keeper.run()

    def close(self) -> None:
        self._database.close()


def _folder(path: Path) -> FileFolder:
    """Raises ConfigError."""
    try:
        return FileFolder(path)
    except OSError as error:
        raise ConfigError(f"[files] folder {path}: cannot be made: {error.strerror}") from None


def _untold(endpoint: str, error: object) -> None:
    """A line that waits for its turn was refused nothing that a customer would see."""

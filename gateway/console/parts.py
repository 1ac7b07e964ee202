"""What of a gateway the pages show and change."""

from __future__ import annotations

from pathlib import Path

import msgspec

from gateway.admission.catalogue import Catalogue
from gateway.admission.keyring import Keyring
from gateway.books import Books
from gateway.config import Config
from gateway.draining import Draining
from gateway.home import Home
from gateway.telemetry.telemetry import Telemetry
from router.router import Router


class Parts(msgspec.Struct, frozen=True, kw_only=True):
    home: Home
    config: Config
    books: Books
    catalogue: Catalogue
    keyring: Keyring
    router: Router
    draining: Draining
    telemetry: Telemetry

    @property
    def where(self) -> Path | str:
        """The ledger's file or URL."""
        return self.config.ledger.where(self.home)

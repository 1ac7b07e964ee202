"""The register of gateways: whose spools may hold charges that are not booked.

A gateway that dies stays on it, until its spool is recovered and booked.
"""

from __future__ import annotations

import secrets
import time

from metering.database import Database


class GatewayRegister:
    """Thread-safe. Raises LedgerError when the database cannot answer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def enter(self, writer: str) -> None:
        """Before the first charge. Entering again changes nothing."""
        self._database.query(
            "INSERT INTO gateway_register VALUES (?, ?) ON CONFLICT (writer) DO NOTHING",
            writer,
            time.time_ns(),
        )

    def leave(self, writer: str) -> None:
        """After the last charge is booked."""
        self._database.query("DELETE FROM gateway_register WHERE writer = ?", writer)

    def writers(self) -> list[str]:
        return [row[0] for row in self._database.query("SELECT writer FROM gateway_register")]

    def rename_ledger(self) -> None:
        """What a Redis knows of this ledger is not true any more: it went back in time."""
        self._database.query("UPDATE ledger_name SET name = ?", secrets.token_hex(8))

    def ledger_name(self) -> str:
        """Random, made with the ledger."""
        name: str = self._database.query("SELECT name FROM ledger_name")[0][0]
        return name

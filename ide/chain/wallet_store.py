"""Suppliers' wallets in the ledger's database: all that were ever set, by whom and why. Edge."""

from __future__ import annotations

from typing import Any

import msgspec

from metering.database import Database

_COLUMNS = "supplier_id, address, set_by, reason, set_ns"


class WalletEntry(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody set; an empty address took the wallet away."""

    supplier_id: str
    address: str
    set_by: str
    reason: str
    set_ns: int


class WalletStore:
    """Thread-safe. Raises LedgerError when the database cannot answer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def set(self, entry: WalletEntry) -> None:
        self._database.query(
            f"INSERT INTO payout_wallet ({_COLUMNS}) VALUES (?, ?, ?, ?, ?)",
            *msgspec.structs.astuple(entry),
        )

    def current(self) -> dict[str, str]:
        """Addresses by supplier, of those that have one."""
        rows = self._database.query(
            "SELECT supplier_id, address FROM payout_wallet WHERE seq IN"
            " (SELECT max(seq) FROM payout_wallet GROUP BY supplier_id) ORDER BY supplier_id"
        )
        return {supplier_id: address for supplier_id, address in rows if address}

    def history(self, supplier_id: str) -> list[WalletEntry]:
        """Newest first."""
        rows = self._database.query(
            f"SELECT {_COLUMNS} FROM payout_wallet WHERE supplier_id = ? ORDER BY seq DESC",
            supplier_id,
        )
        return [_entry(row) for row in rows]


def _entry(row: tuple[Any, ...]) -> WalletEntry:
    return WalletEntry(**dict(zip(_COLUMNS.split(", "), row, strict=True)))

"""Nodes that the operator drains, whoever lists them: kept in the ledger's database."""

from __future__ import annotations

from metering.customer_store import keys_changed
from metering.database import Database


class DrainStore:
    """Thread-safe. Raises LedgerError. A change has gateways look, as one of the keys has."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def drain(self, node_id: str, now_ns: int) -> None:
        with self._database.transaction() as session:
            session.query(
                "INSERT INTO node_drain (node_id, since_ns) VALUES (?, ?)"
                " ON CONFLICT (node_id) DO NOTHING",
                node_id,
                now_ns,
            )
            keys_changed(session)

    def resume(self, node_id: str) -> None:
        with self._database.transaction() as session:
            session.query("DELETE FROM node_drain WHERE node_id = ?", node_id)
            keys_changed(session)

    def load(self) -> dict[str, int]:
        """Since when, by node."""
        return dict(self._database.query("SELECT node_id, since_ns FROM node_drain"))

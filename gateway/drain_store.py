"""Nodes and models that the operator drains: kept in the ledger's database, for every gateway.

What is drained gets no new requests, whoever lists it; those under way end as they would.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from metering.customer_store import keys_changed
from metering.database import Database


class DrainKind(StrEnum):
    NODE = "node"
    MODEL = "model"


_TABLES = {DrainKind.NODE: ("node_drain", "node_id"), DrainKind.MODEL: ("model_drain", "model")}


class Drains(msgspec.Struct, frozen=True, kw_only=True):
    """Since when, by id."""

    nodes: dict[str, int] = {}
    models: dict[str, int] = {}

    def of(self, kind: DrainKind) -> dict[str, int]:
        return self.nodes if kind is DrainKind.NODE else self.models


class DrainStore:
    """Thread-safe. Raises LedgerError. A change has gateways look, as one of the keys has."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def drain(self, kind: DrainKind, name: str, now_ns: int) -> None:
        table, column = _TABLES[kind]
        with self._database.transaction() as session:
            session.query(
                f"INSERT INTO {table} ({column}, since_ns) VALUES (?, ?)"
                f" ON CONFLICT ({column}) DO NOTHING",
                name,
                now_ns,
            )
            keys_changed(session)

    def end(self, kind: DrainKind, name: str) -> None:
        table, column = _TABLES[kind]
        with self._database.transaction() as session:
            session.query(f"DELETE FROM {table} WHERE {column} = ?", name)
            keys_changed(session)

    def load(self) -> Drains:
        found: dict[DrainKind, dict[str, int]] = {
            kind: dict(self._database.query(f"SELECT {column}, since_ns FROM {table}"))
            for kind, (table, column) in _TABLES.items()
        }
        return Drains(nodes=found[DrainKind.NODE], models=found[DrainKind.MODEL])

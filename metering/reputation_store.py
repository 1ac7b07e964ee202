"""What gateways remember of nodes' conduct, in the ledger's database: one row a node, of them all.

Nobody overwrites what another wrote: a row is replaced only by who has read it.
"""

from __future__ import annotations

import msgspec

from metering.database import Database

_COLUMNS = "node_id, supplier_id, memory, as_of_ns, version"
_encode = msgspec.json.encode
_memory = msgspec.json.Decoder(dict[str, float]).decode


class Remembered(msgspec.Struct, frozen=True, kw_only=True):
    node_id: str
    supplier_id: str
    memory: dict[str, float]
    """Pieces of evidence by kind, faded up to then."""
    as_of_ns: int
    """Wall clock."""
    version: int = 0
    """Which writing of the row this is; 0: there is none."""


class ReputationStore:
    """Thread-safe. Raises LedgerError when the database cannot answer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def since(self, as_of_ns: int) -> list[Remembered]:
        """All rows that are as of then or later, by id."""
        rows = self._database.query(
            f"SELECT {_COLUMNS} FROM reputation WHERE as_of_ns >= ? ORDER BY node_id", as_of_ns
        )
        return [
            Remembered(
                node_id=node_id,
                supplier_id=supplier_id,
                memory=_memory(memory),
                as_of_ns=as_of,
                version=version,
            )
            for node_id, supplier_id, memory, as_of, version in rows
        ]

    def put(self, row: Remembered) -> bool:
        """Write it in place of the version that it names. False: another was written since."""
        written = self._database.note(
            f"INSERT INTO reputation ({_COLUMNS}) VALUES (?, ?, ?, ?, 1)"
            " ON CONFLICT (node_id) DO UPDATE SET supplier_id = excluded.supplier_id,"
            " memory = excluded.memory, as_of_ns = excluded.as_of_ns,"
            " version = reputation.version + 1 WHERE reputation.version = ? RETURNING version",
            row.node_id,
            row.supplier_id,
            _encode(row.memory).decode(),
            row.as_of_ns,
            row.version,
        )
        return bool(written)

    def forget(self, before_ns: int) -> None:
        """Rows as of before then: nothing of them is left by now."""
        self._database.note("DELETE FROM reputation WHERE as_of_ns < ?", before_ns)

"""Readings of nodes' counters, and the ledger's sums of nodes, in the ledger's database."""

from __future__ import annotations

import msgspec

from metering.database import Database
from metering.reconcile import NodeSum, Reading

_COLUMNS = (
    "node_id, supplier_id, model, read_ns, done_ns, epoch, prompt_tokens, completion_tokens, "
    "ledger_seq"
)


class ReadingStore:
    """Thread-safe. Raises LedgerError when the database cannot answer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, reading: Reading) -> None:
        """One that is there already changes nothing."""
        self._database.query(
            f"INSERT INTO node_reading ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (node_id, read_ns) DO NOTHING",
            *msgspec.structs.astuple(reading),
        )

    def last(self, node_id: str) -> Reading | None:
        rows = self._database.query(
            f"SELECT {_COLUMNS} FROM node_reading WHERE node_id = ? ORDER BY read_ns DESC LIMIT 1",
            node_id,
        )
        if not rows:
            return None
        return Reading(**dict(zip(Reading.__struct_fields__, rows[0], strict=True)))

    def sum_of(self, node_id: str, after_seq: int, from_ns: int, to_ns: int) -> NodeSum:
        """What the node claimed of charges made and ended within this time, booked behind
        `after_seq`. An estimate of ours is no claim of its.
        """
        ((prompt, completion, charges),) = self._database.query(
            "SELECT CAST(coalesce(sum(prompt_tokens), 0) AS BIGINT),"
            " CAST(coalesce(sum(completion_tokens), 0) AS BIGINT), count(*) FROM charge"
            " WHERE seq > ? AND node_id = ? AND created_ns >= ? AND closed_ns <= ?"
            " AND usage_source IN ('node', 'counted')",
            after_seq,
            node_id,
            from_ns,
            to_ns,
        )
        return NodeSum(prompt_tokens=prompt, completion_tokens=completion, charges=charges)

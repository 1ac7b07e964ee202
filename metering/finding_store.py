"""Findings in the ledger's database: written once, never changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from metering.database import Database
from metering.finding import Finding, FindingKind

_COLUMNS = (
    "finding_id, kind, node_id, supplier_id, model, request_id, expected, claimed, evidence, "
    "found_ns"
)
_encode = msgspec.json.encode
_evidence = msgspec.json.Decoder(dict[str, int | str])


class FindingStore:
    """Thread-safe. Raises LedgerError when the database cannot answer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, findings: Sequence[Finding]) -> None:
        """All or none. One that is there already changes nothing."""
        with self._database.transaction() as session:
            for finding in findings:
                session.query(
                    f"INSERT INTO finding ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
                    " ON CONFLICT (finding_id) DO NOTHING",
                    finding.finding_id,
                    str(finding.kind),
                    finding.node_id,
                    finding.supplier_id,
                    finding.model,
                    finding.request_id,
                    finding.expected,
                    finding.claimed,
                    _encode(finding.evidence).decode(),
                    finding.found_ns,
                )

    def newest(
        self,
        *,
        node_id: str | None = None,
        kind: FindingKind | None = None,
        before_seq: int | None = None,
        limit: int,
    ) -> list[tuple[int, Finding]]:
        """Findings with their place, the newest first; `before_seq` pages on."""
        wanted = {
            "node_id = ?": node_id,
            "kind = ?": None if kind is None else str(kind),
            "seq < ?": before_seq,
        }
        given = {condition: value for condition, value in wanted.items() if value is not None}
        where = f" WHERE {' AND '.join(given)}" if given else ""
        rows = self._database.query(
            f"SELECT seq, {_COLUMNS} FROM finding{where} ORDER BY seq DESC LIMIT ?",
            *given.values(),
            limit,
        )
        return [(row[0], _finding(row[1:])) for row in rows]

    def counts(self) -> dict[tuple[str, str], int]:
        """By node and kind."""
        rows = self._database.query(
            "SELECT node_id, kind, count(*) FROM finding GROUP BY node_id, kind"
            " ORDER BY node_id, kind"
        )
        return {(node_id, kind): count for node_id, kind, count in rows}


def _finding(row: tuple[Any, ...]) -> Finding:
    finding_id, kind, node_id, supplier_id, model, request_id, *figures = row
    expected, claimed, evidence, found_ns = figures
    return Finding(
        finding_id=finding_id,
        kind=FindingKind(kind),
        node_id=node_id,
        supplier_id=supplier_id,
        model=model,
        request_id=request_id,
        expected=expected,
        claimed=claimed,
        evidence=_evidence.decode(evidence),
        found_ns=found_ns,
    )

"""What was served over all accounts: tokens and requests by day and model, exact to the row.

Whole hours come from their sums (`usage_hours.py`), what those do not have yet from the charges.
"""

from __future__ import annotations

import msgspec

from metering.database import Database

_DAY_NS = 86_400_000_000_000
_COLUMNS = "prompt_tokens, cached_tokens, completion_tokens, charged_nano_usd"
_SINCE = "seq > (SELECT upto_seq FROM usage_summed)"
_ALL = (
    f"SELECT hour_ns AS at_ns, model, requests, {_COLUMNS} FROM usage_hour UNION ALL"
    f" SELECT created_ns, model, 1, {_COLUMNS} FROM charge WHERE {_SINCE}"
)
_SUMS = ", ".join(f"CAST(sum({each}) AS BIGINT)" for each in ("requests", *_COLUMNS.split(", ")))
RECENT_ROWS = 50_000
"""Of the books, among which answers are looked for: a bound on the work."""


class Served(msgspec.Struct, frozen=True, kw_only=True):
    """Of one day (since 1970) and model. Requests that cost nothing count too."""

    day: int
    model: str
    requests: int
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    charged_nano_usd: int


class ServedTotals:
    """Thread-safe. Raises LedgerError when the database cannot answer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def by_day(self) -> list[Served]:
        """In the order of days and models."""
        rows = self._database.query(
            f"SELECT at_ns / {_DAY_NS}, model, {_SUMS} FROM ({_ALL}) AS used"
            f" GROUP BY at_ns / {_DAY_NS}, model ORDER BY at_ns / {_DAY_NS}, model"
        )
        fields = Served.__struct_fields__
        return [Served(**dict(zip(fields, row, strict=True))) for row in rows]

    def first_tokens(self, since_ns: int, limit: int) -> list[tuple[str, int]]:
        """The nodes of the latest answers since then, and in how many ns each began to come."""
        rows = self._database.query(
            "SELECT node_id, ttft_ns FROM charge WHERE ttft_ns IS NOT NULL AND node_id IS NOT NULL"
            f" AND closed_ns >= ? AND seq > (SELECT coalesce(max(seq), 0) - {RECENT_ROWS}"
            " FROM charge) ORDER BY seq DESC LIMIT ?",
            since_ns,
            limit,
        )
        return [(node_id, ttft_ns) for node_id, ttft_ns in rows]

    def node_of(self, request_id: str) -> str | None:
        """Who served a request that was charged lately; None: none, or not yet."""
        rows = self._database.query(
            "SELECT node_id FROM charge WHERE request_id = ? AND node_id IS NOT NULL"
            f" AND seq > (SELECT coalesce(max(seq), 0) - {RECENT_ROWS} FROM charge)"
            " ORDER BY seq DESC LIMIT 1",
            request_id,
        )
        return rows[0][0] if rows else None

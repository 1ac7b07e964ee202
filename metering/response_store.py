"""Kept responses in the ledger's database: read by their own account only, deleted, expired, and
for each account bounded in number and size.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from metering.database import Database
from metering.stored_response import StoredResponse

CHAIN_MAX = 1000
"""Responses that a conversation may be long: more than any context holds."""

TRIM_SHARE = 16
"""An account is brought back to its bounds once this process added a sixteenth of them."""

_COLUMNS = (
    "response_id, account, previous_response_id, status, created_ns, expires_ns, alive_ns, input, "
    "response, events"
)
_UNDER_WAY = "status IN ('queued', 'in_progress')"

_CHAIN = f"""SELECT input, response, previous_response_id FROM (
    WITH RECURSIVE earlier (response_id, previous_response_id, input, response, upto, number) AS (
        SELECT response_id, previous_response_id, input, response, bytes, 1
        FROM response WHERE account = ? AND response_id = ?
        UNION ALL
        SELECT r.response_id, r.previous_response_id, r.input, r.response, upto + r.bytes,
               number + 1
        FROM response r JOIN earlier ON r.response_id = earlier.previous_response_id
        WHERE r.account = ? AND upto < ? AND number < {CHAIN_MAX}
    ) SELECT * FROM earlier
) AS chain ORDER BY number DESC"""

_TRIM = """DELETE FROM response WHERE response_id IN (
    SELECT response_id FROM (
        SELECT response_id, count(*) OVER newest AS number, sum(bytes) OVER newest AS upto
        FROM response WHERE account = ?
        WINDOW newest AS (ORDER BY created_ns DESC, response_id DESC)
    ) AS placed WHERE number > ? OR upto > ?
)"""


class ResponseStore:
    """Thread-safe. Raises LedgerError when the database cannot answer."""

    def __init__(self, database: Database, *, per_account_max: int, account_bytes_max: int) -> None:
        self._database = database
        self._per_account_max = per_account_max
        self._account_bytes_max = account_bytes_max
        self._added: dict[str, tuple[int, int]] = {}
        """What came to each account since it was brought to its bounds: number and bytes."""

    def add(self, kept: StoredResponse) -> None:
        """What is beyond the account's bounds then goes, the oldest first."""
        self._database.note(
            f"INSERT INTO response ({_COLUMNS}, bytes) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            *msgspec.structs.astuple(kept),
            kept.bytes,
        )
        self._count(kept)

    def get(self, account: str, response_id: str) -> StoredResponse | None:
        rows = self._database.query(
            f"SELECT {_COLUMNS} FROM response WHERE account = ? AND response_id = ?",
            account,
            response_id,
        )
        return _stored(rows[0]) if rows else None

    def chain(
        self, account: str, response_id: str, bytes_max: int
    ) -> tuple[list[tuple[str, str]], str | None]:
        """Input and response of it and all before it, the oldest first, up to where they exceed so
        many bytes; and the id of the one before those, which is None at the beginning.
        """
        rows = self._database.query(_CHAIN, account, response_id, account, bytes_max)
        if not rows:
            return [], response_id
        return [(input, response) for input, response, _ in rows], rows[0][2]

    def finish(self, ended: StoredResponse) -> bool:
        """Keep how it ended. False: it had ended before, or is no more; nothing was changed."""
        rows = self._database.note(
            "UPDATE response SET status = ?, response = ?, events = ?, bytes = ?"
            f" WHERE account = ? AND response_id = ? AND {_UNDER_WAY} RETURNING response_id",
            ended.status,
            ended.response,
            ended.events,
            ended.bytes,
            ended.account,
            ended.response_id,
        )
        if rows:
            self._count(ended)
        return bool(rows)

    def keep_alive(self, response_ids: Iterable[str], now_ns: int) -> set[str]:
        """Tell that these are being made; those of them that somebody still waits for."""
        rows = self._database.note(
            f"UPDATE response SET alive_ns = ? WHERE response_id IN {self._database.listed}"
            f" AND {_UNDER_WAY} RETURNING response_id",
            now_ns,
            _listed(response_ids),
        )
        return {response_id for (response_id,) in rows}

    def under_way(self, response_ids: Iterable[str]) -> set[str]:
        """Those of them that somebody still waits for."""
        rows = self._database.query(
            f"SELECT response_id FROM response WHERE response_id IN {self._database.listed}"
            f" AND {_UNDER_WAY}",
            _listed(response_ids),
        )
        return {response_id for (response_id,) in rows}

    def lost(self, silent_since_ns: int) -> list[StoredResponse]:
        """Those that ought to be made, but whose gateway told nothing since."""
        rows = self._database.query(
            f"SELECT {_COLUMNS} FROM response WHERE {_UNDER_WAY} AND alive_ns < ?", silent_since_ns
        )
        return [_stored(row) for row in rows]

    def delete(self, account: str, response_id: str) -> bool:
        """False: there is none."""
        rows = self._database.note(
            "DELETE FROM response WHERE account = ? AND response_id = ? RETURNING response_id",
            account,
            response_id,
        )
        return bool(rows)

    def expire(self, now_ns: int) -> None:
        """What was to be kept until now goes."""
        self._database.note("DELETE FROM response WHERE expires_ns <= ?", now_ns)

    def _count(self, kept: StoredResponse) -> None:
        """An account that this process never saw may be beyond its bounds already."""
        number, size = self._added.get(kept.account, (self._per_account_max, 0))
        number, size = number + 1, size + kept.bytes
        many = TRIM_SHARE * number >= self._per_account_max
        if many or TRIM_SHARE * size >= self._account_bytes_max:
            bounds = (self._per_account_max, self._account_bytes_max)
            self._database.note(_TRIM, kept.account, *bounds)
            number = size = 0
        self._added[kept.account] = number, size


def _listed(response_ids: Iterable[str]) -> str:
    return msgspec.json.encode(list(response_ids)).decode()


def _stored(row: tuple[Any, ...]) -> StoredResponse:
    return StoredResponse(
        **dict(zip(StoredResponse.__struct_fields__, row, strict=True)),
    )

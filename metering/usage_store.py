"""What was used and what it cost, added up out of the ledger's charges.

Whole hours are read from their sums (`usage_hours.py`), what those do not have from the charges.
A charge counts at the time when it was reserved (`created_ns`), as it does for spend caps.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Any

import msgspec

from metering.charge import ChargeRecord
from metering.database import Database
from metering.legs import REQUEST_SQL
from metering.usage_hours import ADDED, HOUR_NS

DAY_NS = 86_400_000_000_000


class GroupBy(StrEnum):
    DAY = "day"
    MODEL = "model"
    KEY = "key"


class UsageFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Charges of an account reserved from `from_ns` until before `until_ns`; None is any."""

    account: str
    from_ns: int
    until_ns: int
    key_id: str | None = None
    model: str | None = None


class UsageSum(msgspec.Struct, frozen=True, kw_only=True):
    requests: int
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    reasoning_tokens: int
    cost_nano_usd: int
    charged_nano_usd: int
    """What was paid of the cost: less where the network bore a shortfall."""


class UsageRow(msgspec.Struct, frozen=True, kw_only=True):
    """The sum of a group. `group` has its day (since 1970), model, key and always price version,
    as far as they were asked for, in this order.
    """

    group: tuple[int | str, ...]
    sum: UsageSum


_SUMS = ", ".join(
    f"CAST(coalesce(sum({field}), 0) AS BIGINT)" for field in UsageSum.__struct_fields__
)
_COLUMNS = {
    GroupBy.DAY: f"created_ns / {DAY_NS}",
    GroupBy.MODEL: "model",
    GroupBy.KEY: "key_id",
}
_CHARGE_FIELDS = ChargeRecord.__struct_fields__


class UsageStore:
    """Thread-safe. Raises LedgerError when the database cannot answer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def total(self, wanted: UsageFilter) -> UsageSum:
        used, values = _used(wanted)
        (row,) = self._database.query(f"SELECT {_SUMS} FROM {used}", *values)
        return _sum(row)

    def rows(
        self,
        wanted: UsageFilter,
        group_by: Sequence[GroupBy],
        *,
        after: tuple[int | str, ...] | None = None,
        limit: int,
    ) -> list[UsageRow]:
        """Groups in rising order, those after the one given. A price's version is a group of its
        own, so that each row is tokens times one price.
        """
        columns = [_COLUMNS[each] for each in GroupBy if each in group_by] + ["price_version"]
        group = ", ".join(columns)
        used, values = _used(wanted)
        if after is not None:
            used += f" WHERE ({group}) > ({', '.join('?' * len(columns))})"
            values += after
        rows = self._database.query(
            f"SELECT {group}, {_SUMS} FROM {used} GROUP BY {group} ORDER BY {group} LIMIT ?",
            *values,
            limit,
        )
        size = len(columns)
        return [UsageRow(group=tuple(row[:size]), sum=_sum(row[size:])) for row in rows]

    def charges(
        self, wanted: UsageFilter, *, after: tuple[int, int] | None, limit: int
    ) -> list[tuple[int, ChargeRecord]]:
        """Single charges, each with its `seq`, in the order of `(created_ns, seq)`; those after
        the one given.
        """
        where, values = _where(wanted)
        if after is not None:
            where += " AND created_ns >= ? AND (created_ns > ? OR seq > ?)"
            values += (after[0], *after)
        rows = self._database.query(
            f"SELECT seq, {', '.join(_CHARGE_FIELDS)} FROM charge WHERE {where}"
            " ORDER BY created_ns, seq LIMIT ?",
            *values,
            limit,
        )
        return [(row[0], _charge(row[1:])) for row in rows]

    def spent(self, key_id: str, starts_ns: Sequence[int]) -> list[int]:
        """Nano-USD that a key and its sub-keys were charged since each of these times, which are
        whole hours.
        """
        assert not any(start_ns % HOUR_NS for start_ns in starts_ns), starts_ns
        accounts = self._database.query("SELECT account FROM api_key WHERE key_id = ?", key_id)
        if not accounts:
            return [0 for _ in starts_ns]
        wanted = UsageFilter(account=accounts[0][0], from_ns=min(starts_ns), until_ns=_NEVER_NS)
        used, values = _used(wanted)
        sums = ", ".join(
            "CAST(coalesce(sum(CASE WHEN created_ns >= ? THEN charged_nano_usd END), 0) AS BIGINT)"
            for _ in starts_ns
        )
        (row,) = self._database.query(
            f"SELECT {sums} FROM {used} WHERE key_id = ? OR key_id IN"
            " (SELECT key_id FROM api_key WHERE parent_key_id = ?)",
            *starts_ns,
            *values,
            key_id,
            key_id,
        )
        return list(row)


_NEVER_NS = 2**62 // HOUR_NS * HOUR_NS
_SUMMED = "(SELECT upto_seq FROM usage_summed)"
_GROUPS = "key_id, model, price_version"
_HOURS = (
    f"SELECT hour_ns AS created_ns, {_GROUPS}, requests, {', '.join(ADDED)} FROM usage_hour"
    " WHERE account = ? AND hour_ns >= ? AND hour_ns < ?"
)
_CHARGES = (
    f"SELECT created_ns, {_GROUPS}, {REQUEST_SQL} AS requests, {', '.join(ADDED)}"
    " FROM charge WHERE account = ?"
)
_IN_TIME = _CHARGES + " AND created_ns >= ? AND created_ns < ?"
_SINCE_THEN = f"{_CHARGES} AND seq > {_SUMMED} AND +created_ns >= ? AND +created_ns < ?"
"""The `+` keeps a database from looking at all of that time for the few rows since."""


def _used(wanted: UsageFilter) -> tuple[str, tuple[int | str, ...]]:
    """What to select sums from: each charge is in it once, by itself or in the sum of its hour."""
    first_ns = -(-wanted.from_ns // HOUR_NS) * HOUR_NS
    last_ns = wanted.until_ns // HOUR_NS * HOUR_NS
    parts: list[tuple[str, int, int]]
    if first_ns >= last_ns:
        parts = [(_IN_TIME, wanted.from_ns, wanted.until_ns)]
    else:
        summed = f"{_IN_TIME} AND +seq <= {_SUMMED}"
        parts = [
            (_HOURS, first_ns, last_ns),
            (summed, wanted.from_ns, first_ns),
            (summed, last_ns, wanted.until_ns),
            (_SINCE_THEN, wanted.from_ns, wanted.until_ns),
        ]
    of_key = "" if wanted.key_id is None else " AND key_id = ?"
    of_model = "" if wanted.model is None else " AND model = ?"
    narrowed = tuple(value for value in (wanted.key_id, wanted.model) if value is not None)
    union = " UNION ALL ".join(f"{sql}{of_key}{of_model}" for sql, _, _ in parts)
    values: tuple[int | str, ...] = ()
    for _, from_ns, until_ns in parts:
        values += (wanted.account, from_ns, until_ns, *narrowed)
    return f"({union}) AS used", values


def _where(wanted: UsageFilter) -> tuple[str, tuple[int | str, ...]]:
    where = "account = ? AND created_ns >= ? AND created_ns < ?"
    values: tuple[int | str, ...] = (wanted.account, wanted.from_ns, wanted.until_ns)
    if wanted.key_id is not None:
        where += " AND key_id = ?"
        values += (wanted.key_id,)
    if wanted.model is not None:
        where += " AND model = ?"
        values += (wanted.model,)
    return where, values


def _sum(row: tuple[Any, ...]) -> UsageSum:
    return UsageSum(**dict(zip(UsageSum.__struct_fields__, row, strict=True)))


def _charge(row: tuple[Any, ...]) -> ChargeRecord:
    return msgspec.convert(dict(zip(_CHARGE_FIELDS, row, strict=True)), ChargeRecord)

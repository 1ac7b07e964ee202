"""What was used and what it cost, added up out of the ledger's charges.

A charge counts at the time when it was reserved (`created_ns`), as it does for spend caps.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Any

import msgspec

from metering.charge import ChargeRecord
from metering.database import Database

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


_SUMS = "count(*), " + ", ".join(
    f"CAST(coalesce(sum({field}), 0) AS BIGINT)" for field in UsageSum.__struct_fields__[1:]
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
        where, values = _where(wanted)
        (row,) = self._database.query(f"SELECT {_SUMS} FROM charge WHERE {where}", *values)
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
        where, values = _where(wanted)
        if after is not None:
            where += f" AND ({group}) > ({', '.join('?' * len(columns))})"
            values += after
        rows = self._database.query(
            f"SELECT {group}, {_SUMS} FROM charge WHERE {where}"
            f" GROUP BY {group} ORDER BY {group} LIMIT ?",
            *values,
            limit,
        )
        size = len(columns)
        return [UsageRow(group=tuple(row[:size]), sum=_sum(row[size:])) for row in rows]

    def charges(
        self, wanted: UsageFilter, *, after_seq: int, limit: int
    ) -> list[tuple[int, ChargeRecord]]:
        """Single charges in the order of the ledger, each with its `seq`."""
        where, values = _where(wanted)
        rows = self._database.query(
            f"SELECT seq, {', '.join(_CHARGE_FIELDS)} FROM charge WHERE {where} AND seq > ?"
            " ORDER BY seq LIMIT ?",
            *values,
            after_seq,
            limit,
        )
        return [(row[0], _charge(row[1:])) for row in rows]

    def spent(self, key_id: str, starts_ns: Sequence[int]) -> list[int]:
        """Nano-USD that a key and its sub-keys were charged since each of these times."""
        sums = ", ".join(
            "CAST(coalesce(sum(CASE WHEN created_ns >= ? THEN charged_nano_usd END), 0) AS BIGINT)"
            for _ in starts_ns
        )
        (row,) = self._database.query(
            f"SELECT {sums} FROM charge WHERE created_ns >= ? AND (key_id = ? OR key_id IN"
            " (SELECT key_id FROM api_key WHERE parent_key_id = ?))",
            *starts_ns,
            min(starts_ns),
            key_id,
            key_id,
        )
        return list(row)


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

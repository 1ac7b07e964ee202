"""`GET /v1/usage`: what the caller's account used and what it cost, added up or charge by charge.

A key that another one made sees its own usage only.
"""

import base64
import binascii
import time
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends
from msgspec import Meta

from gateway import errors
from gateway.admission.catalogue import Catalogue
from gateway.routes.auth import Authenticate
from gateway.routes.body import query_of
from gateway.routes.daily_quotas import daily_quotas
from gateway.views.fields import seconds, usd
from metering.charge import ChargeRecord
from metering.cycle import Cycle, cycle_start_ns
from metering.keys import ApiKey
from metering.usage_store import DAY_NS, GroupBy, UsageFilter, UsageRow, UsageStore, UsageSum

_SECOND_NS = 1_000_000_000
_UnixSeconds = Annotated[int, Meta(ge=0, le=9_000_000_000)]
_CHARGES = "charge"
_Cursor = tuple[int | str, ...]


class UsageQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    start_time: _UnixSeconds | None = None
    """The first second that counts; the begin of this month (UTC) if not given."""
    end_time: _UnixSeconds | None = None
    """The first that counts no more; now, if not given."""
    group_by: str = "day,model"
    """Of day, model and key; or `charge`, for single charges."""
    model: str | None = None
    key_id: str | None = None
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100
    after: str | None = None
    """The `next_cursor` of the page before."""


def routes(authenticate: Authenticate, store: UsageStore, catalogue: Catalogue) -> APIRouter:
    api = APIRouter(tags=["usage"])

    @api.get("/v1/usage")
    def usage(
        caller: Annotated[ApiKey, Depends(authenticate)],
        query: Annotated[UsageQuery, Depends(query_of(UsageQuery))],
    ) -> dict[str, Any]:
        if caller.parent_key_id is not None and query.key_id not in (None, caller.key_id):
            raise errors.not_permitted(
                f"Key {caller.key_id} may see its own usage only.",
                code="key_management_not_allowed",
            )
        own = caller.key_id if caller.parent_key_id is not None else None
        page = usage_json(store, caller.account, query, own)
        quotas = daily_quotas(caller.account, catalogue, store, time.time_ns())
        return page | {"daily_quotas": quotas}

    return api


def usage_json(
    store: UsageStore, account: str, query: UsageQuery, own_key_id: str | None = None
) -> dict[str, Any]:
    """A page of rows, and the total of all pages. Blocks. Raises ApiError (400), LedgerError."""
    now_ns = time.time_ns()
    start_ns, end_ns = cycle_start_ns(Cycle.MONTHLY, now_ns), now_ns
    if query.start_time is not None:
        start_ns = query.start_time * _SECOND_NS
    if query.end_time is not None:
        end_ns = query.end_time * _SECOND_NS
    wanted = UsageFilter(
        account=account,
        from_ns=start_ns,
        until_ns=end_ns,
        key_id=own_key_id or query.key_id,
        model=query.model,
    )
    pages = _charges if query.group_by == _CHARGES else _groups
    data, cursor = pages(store, wanted, query)
    return {
        "object": "usage",
        "account": account,
        "start_time": start_ns // _SECOND_NS,
        "end_time": -(-end_ns // _SECOND_NS),
        "total": _sum_json(store.total(wanted)),
        "data": data,
        "has_more": cursor is not None,
        "next_cursor": None if cursor is None else _encode(cursor),
    }


def _groups(
    store: UsageStore, wanted: UsageFilter, query: UsageQuery
) -> tuple[list[dict[str, Any]], _Cursor | None]:
    group_by = _group_by(query.group_by)
    types = (*(int if each is GroupBy.DAY else str for each in group_by), str)
    after = None if query.after is None else _decode(query.after, types)
    found = store.rows(wanted, group_by, after=after, limit=query.limit + 1)
    shown = found[: query.limit]
    cursor = shown[-1].group if len(found) > query.limit else None
    return [_row_json(row, group_by) for row in shown], cursor


def _charges(
    store: UsageStore, wanted: UsageFilter, query: UsageQuery
) -> tuple[list[dict[str, Any]], _Cursor | None]:
    after = None
    if query.after is not None:
        created_ns, seq = _decode(query.after, (int, int))
        after = (int(created_ns), int(seq))
    found = store.charges(wanted, after=after, limit=query.limit + 1)
    shown = found[: query.limit]
    cursor = None
    if len(found) > query.limit:
        last_seq, last = shown[-1]
        cursor = (last.created_ns, last_seq)
    return [_charge_json(charge) for _, charge in shown], cursor


def _group_by(text: str) -> list[GroupBy]:
    """In the order of `GroupBy`. Raises ApiError (400)."""
    asked = {part for part in text.split(",") if part}
    unknown = asked - {each.value for each in GroupBy}
    if unknown:
        raise errors.bad_request(
            f"group_by knows day, model and key, with commas between, or charge; not "
            f"'{', '.join(sorted(unknown))[:100]}'.",
            param="group_by",
            code="invalid_value",
        )
    return [each for each in GroupBy if each in asked]


def _row_json(row: UsageRow, group_by: list[GroupBy]) -> dict[str, Any]:
    names = {GroupBy.DAY: "day", GroupBy.MODEL: "model", GroupBy.KEY: "key_id"}
    fields = dict(zip([names[each] for each in group_by], row.group, strict=False))
    if GroupBy.DAY in group_by:
        fields["day"] = _date(int(fields["day"]))
    return {**fields, "price_version": row.group[-1], **_sum_json(row.sum)}


def _charge_json(charge: ChargeRecord) -> dict[str, Any]:
    return {
        "request_id": charge.request_id,
        "created_at": seconds(charge.created_ns),
        "key_id": charge.key_id,
        "model": charge.model,
        "price_version": charge.price_version,
        "prompt_tokens": charge.prompt_tokens,
        "cached_tokens": charge.cached_tokens,
        "completion_tokens": charge.completion_tokens,
        "reasoning_tokens": charge.reasoning_tokens,
        "usage_source": charge.usage_source,
        "outcome": charge.outcome,
        **usd("cost", charge.cost_nano_usd),
        **usd("charged", charge.charged_nano_usd),
    }


def _sum_json(total: UsageSum) -> dict[str, Any]:
    return {
        **msgspec.structs.asdict(total),
        **usd("cost", total.cost_nano_usd),
        **usd("charged", total.charged_nano_usd),
    }


def _date(day: int) -> str:
    return datetime.fromtimestamp(day * DAY_NS // _SECOND_NS, UTC).strftime("%Y-%m-%d")


def _encode(cursor: _Cursor) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(cursor)).decode().rstrip("=")


def _decode(text: str, types: tuple[type[int] | type[str], ...]) -> _Cursor:
    """Raises ApiError (400) for what is no cursor of this query's."""
    try:
        raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        cursor: _Cursor = msgspec.json.decode(raw, type=tuple[types])  # type: ignore[valid-type]
    except (binascii.Error, ValueError, msgspec.MsgspecError):
        raise errors.bad_request(
            "after is no next_cursor of this query.", param="after", code="invalid_value"
        ) from None
    return cursor

"""`GET /v1/statements/{month}`: the caller's account, a month of it."""

import time
from typing import Annotated, Literal

import msgspec
from fastapi import APIRouter, Depends, Response

from gateway import errors
from gateway.billing.billing import Billing
from gateway.billing.objects import statement_object
from gateway.billing.page import statement_page
from gateway.routes.auth import Authenticate
from gateway.routes.body import query_of
from metering.keys import ApiKey
from metering.month import parse_month


class StatementQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    format: Literal["json", "html"] = "json"


def routes(authenticate: Authenticate, billing: Billing) -> APIRouter:
    api = APIRouter(tags=["usage"])

    @api.get("/v1/statements/{month}")
    def statement(
        month: str,
        caller: Annotated[ApiKey, Depends(authenticate)],
        query: Annotated[StatementQuery, Depends(query_of(StatementQuery))],
    ) -> Response:
        """A month such as 2026-10 (UTC) as JSON, or as a page with `?format=html`."""
        if caller.parent_key_id is not None:
            raise errors.not_permitted(
                f"Key {caller.key_id} was made by another key: the account's money is not its to "
                "see.",
                code="key_management_not_allowed",
            )
        return statement_answer(billing, caller.account, month, query)

    return api


def statement_answer(billing: Billing, account: str, month: str, query: StatementQuery) -> Response:
    found = billing.statements.statement(account, parse_month(month), time.time_ns())
    if query.format == "json":
        body = msgspec.json.encode(statement_object(found))
        return Response(body, media_type="application/json")
    config = billing.config
    page = statement_page(found, seller=config.seller, note=config.note)
    # The page loads nothing and runs nothing, whatever ids and names stand in it.
    policy = {"content-security-policy": "default-src 'none'; style-src 'unsafe-inline'"}
    return Response(page, media_type="text/html; charset=utf-8", headers=policy)

"""`/admin/v1/accounts` and `/admin/v1/warnings`: customers."""

import asyncio
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends
from fastapi.routing import APIRoute
from msgspec import Meta

from gateway import errors
from gateway.admission.keyring import Keyring
from gateway.customers import AccountPatch, Customers
from gateway.errors import ApiError
from gateway.routes.body import json_body, query_of
from gateway.routes.page import page_json
from gateway.routes.usage import UsageQuery, usage_json
from gateway.views.customers import customer_json, warning_json
from metering.usage_store import UsageStore


class NewAccount(AccountPatch, frozen=True, kw_only=True, forbid_unknown_fields=True):
    account: str


class AccountQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    after: str | None = None
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100


class WarningQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    account: str | None = None
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100


def routes(
    customers: Customers, keyring: Keyring, used: UsageStore, route_class: type[APIRoute]
) -> APIRouter:
    api = APIRouter(route_class=route_class)
    store = customers.store

    @api.post("/accounts")
    def create(body: Annotated[NewAccount, Depends(json_body(NewAccount))]) -> dict[str, Any]:
        """Open an account; one that is there already is changed to what is given."""
        created = customers.open(body.account)
        customer = customers.change(body.account, body)
        if customer is None:
            raise _unknown(body.account)
        return {**customer_json(customer), "created": created}

    @api.get("/accounts")
    def list_accounts(
        query: Annotated[AccountQuery, Depends(query_of(AccountQuery))],
    ) -> dict[str, Any]:
        found = store.page(after=query.after, limit=query.limit + 1)
        return page_json(found, query.limit, customer_json, lambda each: each.account)

    @api.get("/accounts/{account}")
    def show(account: str) -> dict[str, Any]:
        customer = store.get(account)
        if customer is None:
            raise _unknown(account)
        return customer_json(customer)

    @api.patch("/accounts/{account}")
    async def update(
        account: str, body: Annotated[AccountPatch, Depends(json_body(AccountPatch))]
    ) -> dict[str, Any]:
        customer = await asyncio.to_thread(customers.change, account, body)
        if customer is None:
            raise _unknown(account)
        await keyring.reload()  # a suspended account gets nothing more once this is answered
        return customer_json(customer)

    @api.get("/accounts/{account}/usage")
    def usage(
        account: str, query: Annotated[UsageQuery, Depends(query_of(UsageQuery))]
    ) -> dict[str, Any]:
        if store.get(account) is None:
            raise _unknown(account)
        return usage_json(used, account, query)

    @api.get("/warnings")
    def list_warnings(
        query: Annotated[WarningQuery, Depends(query_of(WarningQuery))],
    ) -> dict[str, Any]:
        """Balances that fell below their threshold, the newest first."""
        found = store.warnings(account=query.account, limit=query.limit)
        return {"object": "list", "data": [warning_json(each) for each in found]}

    return api


def _unknown(account: str) -> ApiError:
    return errors.not_found(f"There is no account '{account[:100]}'.")

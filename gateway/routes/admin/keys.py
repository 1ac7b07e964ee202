"""`/admin/v1/keys`: every customer's keys."""

import asyncio
from typing import Annotated, Any, TypeVar

import msgspec
from fastapi import APIRouter, Depends
from fastapi.routing import APIRoute
from msgspec import Meta

from gateway import errors
from gateway.admission.keyring import Keyring
from gateway.routes.body import json_body, query_of
from gateway.routes.page import page_json
from gateway.routes.sub_keys import Rotation
from gateway.views.customers import key_json
from metering.key_patch import KeyPatch
from metering.key_store import KeyStore
from metering.keys import NO_TERMS

T = TypeVar("T")


class NewKey(KeyPatch, frozen=True, kw_only=True, forbid_unknown_fields=True):
    account: str | None = None
    parent_key_id: str | None = None


class KeyQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    account: str | None = None
    parent_key_id: str | None = None
    after: str | None = None
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100


def routes(store: KeyStore, keyring: Keyring, route_class: type[APIRoute]) -> APIRouter:
    api = APIRouter(prefix="/keys", route_class=route_class)

    @api.post("")
    def create(body: Annotated[NewKey, Depends(json_body(NewKey))]) -> dict[str, Any]:
        """A key of an account or, with `parent_key_id`, a sub-key; its secret is shown once."""
        if (body.account is None) == (body.parent_key_id is None):
            raise errors.bad_request("Give either account or parent_key_id.", param="account")
        name, terms = body.named(""), body.applied(NO_TERMS)
        if body.parent_key_id is not None:
            key, secret = store.create_sub_key(body.parent_key_id, name, terms)
        else:
            key, secret = store.create(body.account or "", name, terms)
        return {**key_json(key), "api_key": secret}

    @api.get("")
    def list_keys(query: Annotated[KeyQuery, Depends(query_of(KeyQuery))]) -> dict[str, Any]:
        found = store.page(
            account=query.account,
            parent_key_id=query.parent_key_id,
            after_key_id=query.after,
            limit=query.limit + 1,
        )
        return page_json(found, query.limit, key_json, lambda key: key.key_id)

    @api.get("/{key_id}")
    def show(key_id: str) -> dict[str, Any]:
        return key_json(_found(store.get(key_id), key_id))

    @api.patch("/{key_id}")
    async def update(
        key_id: str, body: Annotated[KeyPatch, Depends(json_body(KeyPatch))]
    ) -> dict[str, Any]:
        key = _found(await asyncio.to_thread(store.update, key_id, body), key_id)
        await keyring.reload()
        return key_json(key)

    @api.post("/{key_id}/rotate")
    async def rotate(
        key_id: str, body: Annotated[Rotation, Depends(json_body(Rotation))]
    ) -> dict[str, Any]:
        """A new secret, shown once."""
        rotated = await asyncio.to_thread(store.rotate, key_id, body.grace_ns)
        key, secret = _found(rotated, key_id)
        await keyring.reload()
        return {**key_json(key), "api_key": secret}

    @api.delete("/{key_id}")
    async def revoke(key_id: str) -> dict[str, Any]:
        """Make a key and its sub-keys useless for good."""
        key = _found(await asyncio.to_thread(store.revoke, key_id), key_id)
        await keyring.reload()
        return key_json(key)

    return api


def _found(found: T | None, key_id: str) -> T:
    if found is None:
        raise errors.unknown_key(key_id)
    return found

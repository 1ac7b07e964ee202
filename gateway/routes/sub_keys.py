"""`/v1/keys`: the keys that a key made, for whoever has that."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends
from msgspec import Meta

from gateway import errors
from gateway.admission.keyring import Keyring
from gateway.routes.auth import Authenticate
from gateway.routes.body import json_body, query_of
from gateway.routes.page import page_json
from gateway.views.customers import key_json
from metering.key_patch import KeyPatch
from metering.key_store import KeyStore
from metering.keys import NO_TERMS, ApiKey

GRACE_S_MAX = 30 * 86_400
_SECOND_NS = 1_000_000_000


class KeyPage(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    after: str | None = None
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100


class Rotation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    grace_s: Annotated[int, Meta(ge=0, le=GRACE_S_MAX)] = 0
    """So long the secret before is still good."""

    @property
    def grace_ns(self) -> int:
        return self.grace_s * _SECOND_NS


def routes(authenticate: Authenticate, keyring: Keyring, store: KeyStore) -> APIRouter:
    api = APIRouter(prefix="/v1/keys", tags=["keys"])
    Manager = Annotated[ApiKey, Depends(_manager_with(authenticate))]  # noqa: N806 (a type)

    @api.get("")
    def list_keys(
        manager: Manager, query: Annotated[KeyPage, Depends(query_of(KeyPage))]
    ) -> dict[str, Any]:
        found = store.page(
            parent_key_id=manager.key_id, after_key_id=query.after, limit=query.limit + 1
        )
        return page_json(found, query.limit, key_json, lambda key: key.key_id)

    @api.post("")
    def create(
        manager: Manager, body: Annotated[KeyPatch, Depends(json_body(KeyPatch))]
    ) -> dict[str, Any]:
        """A sub-key, whose secret is shown once."""
        if manager.suspended:
            raise errors.account_suspended(manager.account)
        key, secret = store.create_sub_key(manager.key_id, body.named(""), body.applied(NO_TERMS))
        return {**key_json(key), "api_key": secret}

    @api.get("/{key_id}")
    def show(manager: Manager, key_id: str) -> dict[str, Any]:
        return key_json(_own(store, manager, key_id))

    @api.patch("/{key_id}")
    async def update(
        manager: Manager, key_id: str, body: Annotated[KeyPatch, Depends(json_body(KeyPatch))]
    ) -> dict[str, Any]:
        await asyncio.to_thread(_own, store, manager, key_id)
        key = await asyncio.to_thread(store.update, key_id, body)
        await keyring.reload()
        assert key is not None, "keys are never deleted"
        return key_json(key)

    @api.post("/{key_id}/rotate")
    async def rotate(
        manager: Manager, key_id: str, body: Annotated[Rotation, Depends(json_body(Rotation))]
    ) -> dict[str, Any]:
        """A new secret, shown once. The key that asks may rotate itself too."""
        if key_id != manager.key_id:
            await asyncio.to_thread(_own, store, manager, key_id)
        rotated = await asyncio.to_thread(store.rotate, key_id, body.grace_ns)
        await keyring.reload()
        assert rotated is not None, "keys are never deleted"
        key, secret = rotated
        return {**key_json(key), "api_key": secret}

    @api.delete("/{key_id}")
    async def revoke(manager: Manager, key_id: str) -> dict[str, Any]:
        await asyncio.to_thread(_own, store, manager, key_id)
        key = await asyncio.to_thread(store.revoke, key_id)
        await keyring.reload()
        assert key is not None, "keys are never deleted"
        return key_json(key)

    return api


def _manager_with(authenticate: Authenticate) -> Callable[[ApiKey], Awaitable[ApiKey]]:
    async def manager(caller: Annotated[ApiKey, Depends(authenticate)]) -> ApiKey:
        if not caller.manages_keys:
            raise errors.not_permitted(
                f"Key {caller.key_id} may not manage keys: ask the operator for one that may.",
                code="key_management_not_allowed",
            )
        return caller

    return manager


def _own(store: KeyStore, manager: ApiKey, key_id: str) -> ApiKey:
    """A key that this one made. Raises ApiError (404) for every other, there or not."""
    key = store.get(key_id)
    if key is None or key.parent_key_id != manager.key_id:
        raise errors.unknown_key(key_id)
    return key

"""`/epochs`: what was settled, for everyone to see and to check."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from fastapi import APIRouter, Depends, Path, Request, Response
from msgspec import Meta

from gateway.routes.admin_auth import Authorize
from gateway.routes.body import query_of
from gateway.routes.page import page_json
from gateway.settlement.epochs import Epochs, seal_object
from metering.epoch_seal import PayoutRow

_POLICY = {"content-security-policy": "default-src 'none'; style-src 'unsafe-inline'"}
"""The page loads nothing and runs nothing, whatever ids stand in it."""


_READERS = 2
"""Threads for what anyone may ask: however many do, all else has its own."""

T = TypeVar("T")
_MOST = 2**53
_Number = Annotated[int, Path(ge=1, le=_MOST)]


class EpochsQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`before`: the last epoch of the page before."""

    before: Annotated[int, Meta(ge=1, le=_MOST)] | None = None
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100


class EpochQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    format: Literal["json", "html"] = "json"


class PayoutsQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`after`: the `leaf` of the last one of the page before."""

    after: Annotated[int, Meta(ge=0, le=_MOST)] | None = None
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100


class ProofQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    supplier: Annotated[str, Meta(pattern="^[A-Za-z0-9._-]{1,64}$")]
    charges: bool = False
    """With the charges behind the tokens: for whoever has the admin key."""


def routes(epochs: Epochs, authorize: Authorize) -> APIRouter:
    api = APIRouter(prefix="/epochs", tags=["epochs"])
    readers = ThreadPoolExecutor(_READERS, "epochs")

    async def read(work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(readers, work)

    async def proof_query(request: Request) -> ProofQuery:
        query = await query_of(ProofQuery)(request)
        if query.charges:
            await authorize(request)
        return query

    @api.get("")
    async def list_epochs(
        query: Annotated[EpochsQuery, Depends(query_of(EpochsQuery))],
    ) -> dict[str, Any]:
        """The newest first."""
        found = await read(lambda: epochs.newest(before=query.before, limit=query.limit + 1))
        return page_json(found, query.limit, seal_object, lambda seal: str(seal.epoch))

    @api.get("/{epoch}")
    async def epoch(
        epoch: _Number, query: Annotated[EpochQuery, Depends(query_of(EpochQuery))]
    ) -> Response:
        """Every figure of an epoch and the root over its payouts; as a page with `?format=html`."""
        if query.format == "json":
            told = await read(lambda: epochs.as_json(epoch))
            return Response(told, media_type="application/json")
        page = await read(lambda: epochs.as_page(epoch))
        return Response(page, media_type="text/html; charset=utf-8", headers=_POLICY)

    @api.get("/{epoch}/payouts")
    async def payouts(
        epoch: _Number, query: Annotated[PayoutsQuery, Depends(query_of(PayoutsQuery))]
    ) -> dict[str, Any]:
        """In the order of the tree: `text` is what its leaf is made of."""
        after = -1 if query.after is None else query.after
        limit = query.limit + 1
        found = await read(lambda: epochs.payouts(epoch, after_leaf=after, limit=limit))
        return page_json(found, query.limit, _payout_json, lambda row: str(row.leaf))

    @api.get("/{epoch}/proof")
    async def proof(epoch: _Number, query: Annotated[ProofQuery, Depends(proof_query)]) -> Response:
        """The proof of a supplier's payout, for `tollgate settle check-proof`."""

        def made() -> bytes:
            found = epochs.proof(epoch, query.supplier, with_charges=query.charges)
            return msgspec.json.encode(found)

        return Response(await read(made), media_type="application/json")

    return api


def _payout_json(row: PayoutRow) -> dict[str, Any]:
    return {"object": "payout", **msgspec.structs.asdict(row)}

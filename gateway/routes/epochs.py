"""`/epochs`: what was settled, for everyone to see and to check."""

from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Depends, Path, Request, Response
from msgspec import Meta

from gateway.routes.admin.auth import Authorize
from gateway.routes.body import query_of
from gateway.routes.views import page_json
from gateway.settlement.epochs import Epochs, seal_object
from metering.epoch_seal import PayoutRow

_POLICY = {"content-security-policy": "default-src 'none'; style-src 'unsafe-inline'"}
"""The page loads nothing and runs nothing, whatever ids stand in it."""


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
    supplier: str
    charges: bool = False
    """With the charges behind the tokens: for whoever has the admin key."""


def routes(epochs: Epochs, authorize: Authorize) -> APIRouter:
    api = APIRouter(prefix="/epochs", tags=["epochs"])

    async def proof_query(request: Request) -> ProofQuery:
        query = await query_of(ProofQuery)(request)
        if query.charges:
            await authorize(request)
        return query

    @api.get("")
    def list_epochs(
        query: Annotated[EpochsQuery, Depends(query_of(EpochsQuery))],
    ) -> dict[str, Any]:
        """The newest first."""
        found = epochs.newest(before=query.before, limit=query.limit + 1)
        return page_json(found, query.limit, seal_object, lambda seal: str(seal.epoch))

    @api.get("/{epoch}")
    def epoch(
        epoch: _Number, query: Annotated[EpochQuery, Depends(query_of(EpochQuery))]
    ) -> Response:
        """Every figure of an epoch and the root over its payouts; as a page with `?format=html`."""
        if query.format == "json":
            return Response(epochs.as_json(epoch), media_type="application/json")
        page = epochs.as_page(epoch)
        return Response(page, media_type="text/html; charset=utf-8", headers=_POLICY)

    @api.get("/{epoch}/payouts")
    def payouts(
        epoch: _Number, query: Annotated[PayoutsQuery, Depends(query_of(PayoutsQuery))]
    ) -> dict[str, Any]:
        """In the order of the tree: `text` is what its leaf is made of."""
        after = -1 if query.after is None else query.after
        found = epochs.payouts(epoch, after_leaf=after, limit=query.limit + 1)
        return page_json(found, query.limit, _payout_json, lambda row: str(row.leaf))

    @api.get("/{epoch}/proof")
    def proof(epoch: _Number, query: Annotated[ProofQuery, Depends(proof_query)]) -> Response:
        """The proof of a supplier's payout, for `tollgate settle check-proof`."""
        found = epochs.proof(epoch, query.supplier, with_charges=query.charges)
        return Response(msgspec.json.encode(found), media_type="application/json")

    return api


def _payout_json(row: PayoutRow) -> dict[str, Any]:
    return {"object": "payout", **msgspec.structs.asdict(row)}

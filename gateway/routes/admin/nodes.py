"""`/admin/v1/nodes`: suppliers' nodes, who may enrol, and what they may no longer do."""

from __future__ import annotations

import time
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends
from fastapi.routing import APIRoute
from msgspec import UNSET, Meta, UnsetType

from gateway import errors
from gateway.enrolment.enrolment import Enrolment, invitation
from gateway.enrolment.node import Terms
from gateway.routes.body import json_body, query_of
from gateway.routes.page import page_json
from gateway.views.fields import seconds
from gateway.views.nodes import audit_json, node_json
from router.wants import PPM

_Supplier = Annotated[str, Meta(pattern=r"^[a-z0-9._-]{1,64}\Z")]
_Tier = Annotated[int, Meta(ge=0, le=100)]
_Word = Annotated[str, Meta(max_length=100)]
_Gpus = Annotated[int, Meta(ge=1, le=1000)]
_PricePpm = Annotated[int, Meta(ge=1, le=PPM)]
_SECOND_NS = 10**9


class _Body(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class NewInvitation(_Body, frozen=True, kw_only=True):
    supplier: _Supplier
    tier: _Tier = 0
    region: _Word = ""
    gpu: _Word = ""
    gpus: _Gpus = 1
    price_ppm: _PricePpm = PPM
    expires_in_s: Annotated[int, Meta(ge=60, le=30 * 86_400)] = 86_400

    def terms(self) -> Terms:
        return Terms(
            supplier_id=self.supplier,
            tier=self.tier,
            region=self.region,
            gpu=self.gpu,
            gpus=self.gpus,
            price_ppm=self.price_ppm,
        )


class NodePatch(_Body, frozen=True, kw_only=True):
    tier: _Tier | UnsetType = UNSET
    region: _Word | UnsetType = UNSET
    gpu: _Word | UnsetType = UNSET
    gpus: _Gpus | UnsetType = UNSET
    price_ppm: _PricePpm | UnsetType = UNSET

    def given(self) -> dict[str, str | int]:
        """By name, but what was left out."""
        all_ = msgspec.structs.asdict(self)
        return {name: value for name, value in all_.items() if value is not UNSET}


class Revocation(_Body, frozen=True, kw_only=True):
    reason: Annotated[str, Meta(min_length=1, max_length=500)]


class NodeQuery(_Body, frozen=True, kw_only=True):
    after: str = ""
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100


class AuditQuery(_Body, frozen=True, kw_only=True):
    node: str | None = None
    before: int | None = None
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100


def routes(enrolment: Enrolment, route_class: type[APIRoute]) -> APIRouter:
    api = APIRouter(prefix="/nodes", route_class=route_class)
    store = enrolment.store

    @api.post("/invitations")
    def invite(body: Annotated[NewInvitation, Depends(json_body(NewInvitation))]) -> dict[str, Any]:
        """One new node may enrol by it; it is shown once."""
        now_ns = time.time_ns()
        terms = body.terms()
        secret, made = invitation(terms, now_ns + body.expires_in_s * _SECOND_NS)
        store.invite(made, now_ns)
        return {
            "object": "node_invitation",
            "invitation": secret,
            **msgspec.structs.asdict(terms),
            "expires_at": seconds(made.expires_ns),
        }

    @api.get("")
    def list_nodes(query: Annotated[NodeQuery, Depends(query_of(NodeQuery))]) -> dict[str, Any]:
        now_ns = time.time_ns()
        found = store.page(after=query.after, limit=query.limit + 1)
        page = page_json(
            found, query.limit, lambda node: node_json(node, now_ns), lambda node: node.node_id
        )
        return {**page, "frozen_at": seconds(store.frozen_ns())}

    @api.get("/audit")
    def audit(query: Annotated[AuditQuery, Depends(query_of(AuditQuery))]) -> dict[str, Any]:
        """The newest first."""
        found = store.audit(node_id=query.node, before_seq=query.before, limit=query.limit + 1)
        return page_json(found, query.limit, lambda at: audit_json(*at), lambda at: str(at[0]))

    @api.post("/freeze")
    def freeze() -> dict[str, Any]:
        """Until it thaws, nothing that nodes say changes anything, and no lease ends."""
        store.freeze(time.time_ns())
        return {"object": "node_freeze", "frozen_at": seconds(store.frozen_ns())}

    @api.post("/thaw")
    def thaw() -> dict[str, Any]:
        store.thaw(time.time_ns())
        return {"object": "node_freeze", "frozen_at": None}

    @api.get("/{node_id}")
    def show(node_id: str) -> dict[str, Any]:
        return node_json(store.find(node_id), time.time_ns())

    @api.patch("/{node_id}")
    def update(
        node_id: str, body: Annotated[NodePatch, Depends(json_body(NodePatch))]
    ) -> dict[str, Any]:
        given = body.given()
        if not given:
            raise errors.bad_request(
                "Nothing to change: give tier, region, gpu, gpus or price_ppm."
            )
        return node_json(store.set_terms(node_id, time.time_ns(), **given), time.time_ns())

    @api.post("/{node_id}/revoke")
    def revoke(
        node_id: str, body: Annotated[Revocation, Depends(json_body(Revocation))]
    ) -> dict[str, Any]:
        """For good: the node needs a new key and a new invitation."""
        return node_json(store.revoke(node_id, body.reason, time.time_ns()), time.time_ns())

    return api

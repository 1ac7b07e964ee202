"""`/admin/v1/drains`: nodes and models that get no new requests."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from fastapi.routing import APIRoute

from gateway.drain_store import DrainKind
from gateway.draining import Draining
from gateway.views.drains import drains_json


def routes(draining: Draining, route_class: type[APIRoute]) -> APIRouter:
    api = APIRouter(prefix="/drains", route_class=route_class)

    @api.get("")
    def list_drains() -> dict[str, Any]:
        return drains_json(draining.store.load())

    @api.post("/nodes/{node_id:path}")
    async def drain_node(node_id: str) -> dict[str, Any]:
        """It gets no new requests, on every gateway of this ledger; those under way end."""
        return drains_json(await draining.drain(DrainKind.NODE, node_id))

    @api.delete("/nodes/{node_id:path}")
    async def undrain_node(node_id: str) -> dict[str, Any]:
        return drains_json(await draining.end(DrainKind.NODE, node_id))

    @api.post("/models/{model:path}")
    async def drain_model(model: str) -> dict[str, Any]:
        """The same for all nodes of a model, those to come too."""
        return drains_json(await draining.drain(DrainKind.MODEL, model))

    @api.delete("/models/{model:path}")
    async def undrain_model(model: str) -> dict[str, Any]:
        return drains_json(await draining.end(DrainKind.MODEL, model))

    return api

"""`/admin/v1/prices`: the price book, read and added to."""

from __future__ import annotations

import secrets
import time
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends
from fastapi.routing import APIRoute
from msgspec import Meta

from gateway import errors
from gateway.admission.catalogue import Catalogue
from gateway.price_terms import NewPrice
from gateway.routes.body import json_body, query_of
from gateway.routes.page import page_json
from gateway.views.prices import entry_view, name_view
from metering.price_store import PriceStore


class PriceQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    model: str | None = None
    after: Annotated[int, Meta(ge=0)] = 0
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100


def routes(store: PriceStore, catalogue: Catalogue, route_class: type[APIRoute]) -> APIRouter:
    api = APIRouter(prefix="/prices", route_class=route_class)

    @api.post("")
    def set_price(body: Annotated[NewPrice, Depends(json_body(NewPrice))]) -> dict[str, Any]:
        """Set what a model on sale costs from a moment on."""
        if catalogue.get(body.model) is None:
            raise errors.unknown_model(body.model)
        return entry_view(store.add(body.id or secrets.token_hex(8), body.tariff(), time.time_ns()))

    @api.get("")
    def list_prices(query: Annotated[PriceQuery, Depends(query_of(PriceQuery))]) -> dict[str, Any]:
        """The book in the order in which it was set, without the prices of the configuration."""
        entries = store.load(query.after)
        found = [each for each in entries if query.model in (None, each.tariff.model)]
        return page_json(found, query.limit, entry_view, lambda entry: str(entry.seq))

    @api.get("/{version:path}")
    def show(version: str) -> dict[str, Any]:
        """What a version means, and the tariffs that come to it, the configuration's included."""
        first = [model.config.tariff() for model in catalogue]
        return name_view(version, [*first, *(entry.tariff for entry in store.load())])

    return api

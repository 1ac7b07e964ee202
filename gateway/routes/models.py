"""`GET /v1/models` and `GET /v1/models/{id}`: OpenAI's list, with what a buyer wants to know.

`GET /v1/models/{id}/prices`: what it has cost, costs and will cost.
"""

from __future__ import annotations

import time
from typing import Any

from fastapi import APIRouter, Depends

from gateway import errors
from gateway.admission.catalogue import Catalogue, Model
from gateway.routes.auth import Authenticate
from gateway.routes.price_views import pricing_view, tariff_view


def routes(catalogue: Catalogue, authenticate: Authenticate) -> APIRouter:
    router = APIRouter(prefix="/v1/models", dependencies=[Depends(authenticate)], tags=["models"])

    def find(model_id: str) -> Model:
        model = catalogue.get(model_id)
        if model is None:
            raise errors.unknown_model(model_id)
        return model

    @router.get("")
    async def list_models() -> dict[str, Any]:
        now_ns = time.time_ns()
        return {"object": "list", "data": [_describe(model, now_ns) for model in catalogue]}

    @router.get("/{model_id:path}/prices")
    async def get_prices(model_id: str) -> dict[str, Any]:
        prices = find(model_id).prices
        in_force = prices.at(time.time_ns()).tariff
        data = [{**tariff_view(each), "in_force": each is in_force} for each in prices]
        return {"object": "list", "data": data}

    @router.get("/{model_id:path}")
    async def get_model(model_id: str) -> dict[str, Any]:
        return _describe(find(model_id), time.time_ns())

    return router


def _describe(model: Model, now_ns: int) -> dict[str, Any]:
    config = model.config
    description = {
        "id": config.id,
        "object": "model",
        "created": config.created,
        "owned_by": config.owned_by,
        "context_length": config.context_tokens_max,
        "kinds": [kind.value for kind in config.kinds],
        "pricing": pricing_view(model.prices.at(now_ns)),
    }
    if config.free_tokens_per_day is not None:
        description["free_tokens_per_day"] = config.free_tokens_per_day
    if config.description:
        description["description"] = config.description
    if config.demo:
        description["demo"] = True
    return description

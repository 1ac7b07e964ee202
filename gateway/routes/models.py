"""`GET /v1/models` and `GET /v1/models/{id}`: OpenAI's list, with what a buyer wants to know. A key
that may use certain models sees no others.

`GET /v1/models/{id}/prices`: what it has cost, costs and will cost.
"""

import time
from typing import Annotated, Any

from fastapi import APIRouter, Depends

from gateway import errors
from gateway.admission.catalogue import Catalogue, Model
from gateway.routes.auth import Authenticate
from gateway.views.prices import pricing_view, tariff_view
from metering.keys import ApiKey


def routes(catalogue: Catalogue, authenticate: Authenticate) -> APIRouter:
    router = APIRouter(prefix="/v1/models", tags=["models"])
    Caller = Annotated[ApiKey, Depends(authenticate)]  # noqa: N806 (a type)

    def find(model_id: str, caller: ApiKey) -> Model:
        model = catalogue.get(model_id)
        if model is None or not _seen(model, caller):
            raise errors.unknown_model(model_id)
        return model

    @router.get("")
    async def list_models(caller: Caller) -> dict[str, Any]:
        now_ns = time.time_ns()
        seen = [_describe(model, now_ns) for model in catalogue if _seen(model, caller)]
        return {"object": "list", "data": seen}

    @router.get("/{model_id:path}/prices")
    async def get_prices(model_id: str, caller: Caller) -> dict[str, Any]:
        prices = find(model_id, caller).prices
        in_force = prices.at(time.time_ns()).tariff
        data = [{**tariff_view(each), "in_force": each is in_force} for each in prices]
        return {"object": "list", "data": data}

    @router.get("/{model_id:path}")
    async def get_model(model_id: str, caller: Caller) -> dict[str, Any]:
        return _describe(find(model_id, caller), time.time_ns())

    return router


def _seen(model: Model, caller: ApiKey) -> bool:
    return caller.models is None or model.id in caller.models


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

"""`GET /v1/models` and `GET /v1/models/{id}`: OpenAI's list, with what a buyer wants to know."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Depends

from gateway import errors
from gateway.admission.catalogue import Catalogue, Model
from gateway.routes.auth import Authenticate


def routes(catalogue: Catalogue, authenticate: Authenticate) -> APIRouter:
    router = APIRouter(prefix="/v1/models", dependencies=[Depends(authenticate)], tags=["models"])

    @router.get("")
    async def list_models() -> dict[str, Any]:
        return {"object": "list", "data": [_describe(model) for model in catalogue]}

    @router.get("/{model_id:path}")
    async def get_model(model_id: str) -> dict[str, Any]:
        model = catalogue.get(model_id)
        if model is None:
            raise errors.unknown_model(model_id)
        return _describe(model)

    return router


def _describe(model: Model) -> dict[str, Any]:
    config = model.config
    description = {
        "id": config.id,
        "object": "model",
        "created": config.created,
        "owned_by": config.owned_by,
        "context_length": config.context_tokens_max,
        "kinds": [kind.value for kind in config.kinds],
        "pricing": {
            "unit": "nano-USD per token (1e-9 USD)",
            "prompt": model.price.prompt_nano_usd,
            "cached_prompt": model.price.cached_prompt_nano_usd,
            "completion": model.price.completion_nano_usd,
        },
    }
    if config.description:
        description["description"] = config.description
    if config.demo:
        description["demo"] = True
    return description

"""What an aggregator reads of a provider: the models on sale, and what becomes of data.

Behind a key, as everything that costs work: an aggregator has one.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Depends

from gateway.admission.admission import Admission
from gateway.admission.catalogue import Catalogue, Model
from gateway.batches.output import EXPIRES_S
from gateway.openrouter.documents import Json, Offer, flat_document, typed_document
from gateway.responses.config import ResponsesConfig
from gateway.routes.auth import Authenticate
from router.router import Router
from router.types import NodeState


def routes(
    catalogue: Catalogue,
    router: Router,
    admission: Admission,
    responses: ResponsesConfig,
    authenticate: Authenticate,
) -> APIRouter:
    api = APIRouter(prefix="/openrouter", dependencies=[Depends(authenticate)], tags=["openrouter"])

    def offer(model: Model) -> Offer:
        nodes = [
            view.node
            for view in router.nodes(time.monotonic_ns())
            if view.node.model == model.id and view.node.state is NodeState.READY
        ]
        serves = bool(nodes) or admission.waking.is_coming(model.id)
        return Offer(
            config=model.config,
            tariff=model.prices.at(time.time_ns()).tariff,
            concurrency=sum(node.capacity for node in nodes),
            ready=model.config.listing.ready and serves and not admission.draining,
        )

    def told(document: Callable[[Offer], Json]) -> dict[str, Any]:
        return {"data": [document(offer(model)) for model in catalogue]}

    @api.get("/v2/models")
    async def typed() -> dict[str, Any]:
        """OpenRouter's schema 2.4."""
        return told(typed_document)

    @api.get("/v1/models")
    async def flat() -> dict[str, Any]:
        """The flat form before it."""
        return told(flat_document)

    @api.get("/data-policy")
    async def data_policy() -> dict[str, Any]:
        """What becomes of prompts and answers here. Of the nodes each model's listing tells."""
        return {
            "gateway": {
                "retains_prompts": False,
                "retains_completions": False,
                "trains_on_data": False,
                "with_idempotency_key": "the answer is kept for 24 hours, to be given again; the "
                "request's body is not, only its hash. Nothing is kept without that header",
                "logs": "request ids, token counts, times and outcomes; never text",
                "responses_api": _kept(responses),
                "batches": _FILES,
            },
            "models": {
                model.id: {"zero_data_retention": model.config.listing.zero_data_retention}
                for model in catalogue
            },
        }

    return api


_FILES = {
    "retains": "files that were uploaded for batches and that batches wrote",
    "retains_days_max": EXPIRES_S // 86_400,
    "deleted_on_request": True,
}


def _kept(responses: ResponsesConfig) -> dict[str, Any]:
    """Text is kept on request, and by OpenAI's default."""
    if not responses.store:
        return {"retains": False}
    return {
        "retains": "prompt and answer of a request to /v1/responses without 'store': false",
        "retains_days_max": responses.keep_days,
        "deleted_on_request": True,
    }

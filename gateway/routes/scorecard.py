"""`/provider/scorecard`: this provider as an aggregator sees it, for its operator."""

from __future__ import annotations

import time
from typing import Any

import msgspec
from fastapi import APIRouter, Depends

from gateway.admission.catalogue import Catalogue
from gateway.routes.admin_auth import Authorize
from gateway.scorecard.card import UNATTRIBUTED, Card
from gateway.scorecard.figures import Figures, figures_of
from gateway.sketch import ERROR
from gateway.telemetry.telemetry import Telemetry

_NS = 1_000_000_000


def routes(authorize: Authorize, catalogue: Catalogue, telemetry: Telemetry) -> APIRouter:
    api = APIRouter(prefix="/provider", dependencies=[Depends(authorize)], tags=["provider"])

    @api.get("/scorecard")
    async def scorecard() -> dict[str, Any]:
        """Uptime, speed and tool calls by model, as OpenRouter computes them; docs/scorecard.md."""
        cards = await telemetry.cards()
        now_ns = time.monotonic_ns()
        nameless = figures_of(UNATTRIBUTED, cards.get(UNATTRIBUTED, Card()), now_ns)
        told = [figures_of(model.id, cards.get(model.id, Card()), now_ns) for model in catalogue]
        return {
            "object": "provider.scorecard",
            "as_of": time.time_ns() // _NS,
            "percentile_error": round(ERROR, 4),
            "models": [_json(figures, time.time_ns() - now_ns) for figures in told],
            "unattributed": msgspec.to_builtins(nameless.uptime_30m),
        }

    return api


def _json(figures: Figures, to_wall_ns: int) -> dict[str, Any]:
    """`to_wall_ns`: what to add to the monotonic clock."""
    told: dict[str, Any] = msgspec.to_builtins(figures)
    told["since"] = (told.pop("since_ns") + to_wall_ns) // _NS
    told["uptime"] = {window: told.pop(f"uptime_{window}") for window in ("30s", "5m", "30m")}
    return told

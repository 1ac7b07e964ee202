"""`/healthz`: the process lives. `/readyz`: it can serve. `/metrics`: what Prometheus scrapes."""

from __future__ import annotations

import time
from typing import Any

from fastapi import APIRouter, Response
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from gateway.admission.admission import Admission
from gateway.admission.catalogue import Catalogue
from gateway.admission.till import Till
from gateway.telemetry.telemetry import Telemetry
from router.router import Router
from router.types import Condition


def routes(
    *, catalogue: Catalogue, router: Router, till: Till, admission: Admission, telemetry: Telemetry
) -> APIRouter:
    api = APIRouter(tags=["operations"])

    @api.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @api.get("/readyz")
    async def readyz(response: Response) -> dict[str, Any]:
        """200 when every model has a node that takes requests, or will be started for the first,
        or is drained by the operator, and charges can be recorded.
        """
        now_ns = time.monotonic_ns()
        ready = {Condition.READY, Condition.HALF_OPEN}
        views = router.nodes(now_ns)
        nodes = {
            model.id: sum(v.node.model == model.id and v.condition(now_ns) in ready for v in views)
            for model in catalogue
        }
        reasons = [
            f"model '{model}' has no node"
            for model, count in nodes.items()
            if not (count or admission.waking.is_coming(model))
            and not admission.waking.is_drained(model)
        ]
        if not till.recording:
            reasons.append("charges cannot be recorded")
        if not till.posting:
            reasons.append("the ledger contradicts the spool; see the log")
        if admission.draining:
            reasons.append("shutting down")
        if reasons:
            response.status_code = 503
        return {"ready": not reasons, "reasons": reasons, "nodes_ready": nodes}

    @api.get("/metrics")
    async def metrics() -> Response:
        return Response(await telemetry.exposition(), media_type=CONTENT_TYPE_LATEST)

    return api

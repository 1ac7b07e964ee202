"""`/admin/v1/prometheus/nodes`: whom to scrape, for Prometheus's HTTP service discovery."""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import urlsplit

from fastapi import APIRouter

from router.router import Router
from router.types import NodeRecord

_PORTS = {"http": 80, "https": 443}


def routes(router: Router) -> APIRouter:
    api = APIRouter(prefix="/prometheus")

    @api.get("/nodes")
    async def nodes() -> list[dict[str, Any]]:
        """Every listed node but those behind a Unix socket, which only this machine can reach."""
        views = router.nodes(time.monotonic_ns())
        return [_target(view.node) for view in views if not view.node.url.startswith("unix:")]

    return api


def _target(node: NodeRecord) -> dict[str, Any]:
    parts = urlsplit(node.url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return {
        "targets": [f"{host}:{parts.port or _PORTS[parts.scheme]}"],
        "labels": {
            "__scheme__": parts.scheme,
            "__metrics_path__": parts.path.rstrip("/") + "/metrics",
            "node": node.node_id,
            "supplier": node.supplier_id,
            "model": node.model,
            "gpu": node.gpu,
            "region": node.region,
        },
    }

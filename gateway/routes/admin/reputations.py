"""`/admin/v1/nodes/{id}/reputation`: what a node's score is made of."""

from __future__ import annotations

import time
from typing import Any

from fastapi import APIRouter

from gateway import errors
from gateway.reputation.view import reputation_json
from router.router import Router


def routes(router: Router) -> APIRouter:
    api = APIRouter(prefix="/nodes")

    @api.get("/{node_id}/reputation")
    def reputation(node_id: str) -> dict[str, Any]:
        """As this process knows it: within seconds what all gateways saw."""
        found = reputation_json(router.conducts, node_id, time.monotonic_ns())
        if found is None:
            raise errors.not_found(f"No node '{node_id}' was ever seen here.")
        return found

    return api

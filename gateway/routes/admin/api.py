"""`/admin/v1/...`: what an operator does over HTTP. Each file beside this one is a part of it."""

from __future__ import annotations

from collections.abc import Iterable

from fastapi import APIRouter, Depends

from gateway.routes.admin.audited import PREFIX
from gateway.routes.admin_auth import Authorize


def routes(authorize: Authorize, parts: Iterable[APIRouter]) -> APIRouter:
    """The parts (`/accounts`, `/keys`, ...) behind the admin key."""
    api = APIRouter(prefix=PREFIX, dependencies=[Depends(authorize)], tags=["admin"])
    for part in parts:
        api.include_router(part)

    @api.api_route("", methods=["GET"])
    async def describe() -> dict[str, str]:
        """Tells a caller that the key is right."""
        return {"object": "admin", "prefix": PREFIX}

    return api

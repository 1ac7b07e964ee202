"""`/admin/v1/audit`: what operators did, by the console, this API and the command line."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends

from gateway.audit.trail import AuditQuery, AuditTrail
from gateway.audit.view import line_json
from gateway.routes.body import query_of
from gateway.routes.page import page_json

LINES_MAX = 1000


def routes(trail: AuditTrail) -> APIRouter:
    api = APIRouter()

    @api.get("/audit")
    def list_lines(query: Annotated[AuditQuery, Depends(query_of(AuditQuery))]) -> dict[str, Any]:
        """The newest first. Each change has a line before it was made and one after."""
        limit = max(1, min(query.limit, LINES_MAX))
        found = trail.newest(msgspec.structs.replace(query, limit=limit + 1))
        return page_json(found, limit, lambda each: line_json(*each), lambda each: str(each[0]))

    return api

"""`/admin/v1/findings`: what checks of nodes' claims found."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends
from msgspec import Meta

from gateway.routes.body import query_of
from gateway.routes.page import page_json
from metering.finding import Finding, FindingKind
from metering.finding_store import FindingStore


class FindingQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`before`: the `seq` of the last one of the page before."""

    node: str | None = None
    kind: FindingKind | None = None
    before: int | None = None
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100


def routes(store: FindingStore) -> APIRouter:
    api = APIRouter(prefix="/findings")

    @api.get("")
    def list_findings(
        query: Annotated[FindingQuery, Depends(query_of(FindingQuery))],
    ) -> dict[str, Any]:
        """The newest first. A finding is evidence: no bill changes because of one."""
        found = store.newest(
            node_id=query.node, kind=query.kind, before_seq=query.before, limit=query.limit + 1
        )
        return page_json(found, query.limit, _json, lambda entry: str(entry[0]))

    return api


def _json(entry: tuple[int, Finding]) -> dict[str, Any]:
    seq, finding = entry
    return {"object": "finding", "seq": seq, **msgspec.structs.asdict(finding)}

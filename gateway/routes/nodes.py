"""`/nodes/v1/...`: what suppliers' nodes say, signed each by its own key."""

from __future__ import annotations

import asyncio
import time

import msgspec
from fastapi import APIRouter, Request, Response

from gateway import errors
from gateway.enrolment.enrolment import Enrolment
from serving.enrolment.messages import BODY_BYTES_MAX, ENROL, LEASE, ROTATE


def routes(enrolment: Enrolment) -> APIRouter:
    api = APIRouter(tags=["nodes"])

    async def hear(request: Request) -> Response:
        body = await request.body()
        if len(body) > BODY_BYTES_MAX:
            raise errors.body_too_large(BODY_BYTES_MAX)
        if request.url.query:
            raise errors.node_refused(400, "nodes' paths take no query", code="message")
        answer = await asyncio.to_thread(
            enrolment.hear,
            request.url.path,
            request.headers,
            body,
            source=request.client.host if request.client else "",
            now_ns=time.time_ns(),
        )
        return Response(msgspec.json.encode(answer), media_type="application/json")

    for path in (ENROL, LEASE, ROTATE):
        api.add_api_route(path, hear, methods=["POST"])
    return api

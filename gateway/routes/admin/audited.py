"""Every change by the admin API is in the audit trail: before it is made, and what came of it.

The routes that change something are made of `route_class(trail, authorize)`; one that is not in
`CHANGES` ends the start of the gateway.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

import msgspec
from fastapi import Request, Response
from fastapi.routing import APIRoute

from gateway.audit.trail import DONE, REFUSED, AuditTrail, Via
from gateway.routes.admin_auth import Authorize

PREFIX = "/admin/v1"
_SECRETS = {"api_key", "invitation"}

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class Change(msgspec.Struct, frozen=True):
    action: str
    subject: str = ""
    """The field that names what is changed: of the path, the body or the answer."""


CHANGES = {
    "POST /accounts": Change("create-account", "account"),
    "PATCH /accounts/{account}": Change("update-account", "account"),
    "POST /accounts/{account}/deposits": Change("deposit", "account"),
    "POST /deposits/{deposit_id:path}/refunds": Change("refund", "deposit_id"),
    "POST /keys": Change("create-key", "key_id"),
    "PATCH /keys/{key_id}": Change("update-key", "key_id"),
    "POST /keys/{key_id}/rotate": Change("rotate-key", "key_id"),
    "DELETE /keys/{key_id}": Change("revoke-key", "key_id"),
    "POST /prices": Change("set-price", "model"),
    "POST /drains/nodes/{node_id:path}": Change("drain-node", "node_id"),
    "DELETE /drains/nodes/{node_id:path}": Change("undrain-node", "node_id"),
    "POST /drains/models/{model:path}": Change("drain-model", "model"),
    "DELETE /drains/models/{model:path}": Change("undrain-model", "model"),
    "POST /nodes/invitations": Change("invite-supplier", "supplier"),
    "POST /nodes/freeze": Change("freeze-nodes"),
    "POST /nodes/thaw": Change("thaw-nodes"),
    "PATCH /nodes/{node_id}": Change("update-node", "node_id"),
    "POST /nodes/{node_id}/revoke": Change("revoke-node", "node_id"),
}


def route_class(trail: AuditTrail, authorize: Authorize) -> type[APIRoute]:
    class Audited(APIRoute):
        def get_route_handler(self) -> Handler:
            handle = super().get_route_handler()
            (method,) = self.methods
            if method == "GET":
                return handle
            change = CHANGES[f"{method} {self.path.removeprefix(PREFIX)}"]
            return _recording(handle, change, trail, authorize)

    return Audited


def _recording(handle: Handler, change: Change, trail: AuditTrail, authorize: Authorize) -> Handler:
    async def recording(request: Request) -> Response:
        await authorize(request)  # nothing of anybody else's is written down
        given = _object(await request.body())
        begun = await asyncio.to_thread(
            trail.begin,
            via=Via.API,
            who="",
            source=request.client.host if request.client else "local socket",
            action=change.action,
            subject=_named(change, request.path_params, given),
            given=given,
        )
        assert begun is not None, "only a button is pressed twice"
        try:
            response = await handle(request)
        except Exception as error:
            await asyncio.to_thread(trail.end, begun, REFUSED, str(error))
            raise
        answer = _object(bytes(response.body))
        made = {name: value for name, value in answer.items() if name not in _SECRETS}
        subject = begun.subject or _named(change, answer)
        await asyncio.to_thread(trail.end, begun, DONE, subject=subject, made=made)
        return response

    return recording


def _named(change: Change, *told: Mapping[str, Any]) -> str:
    return next((str(each[change.subject]) for each in told if change.subject in each), "")


def _object(body: bytes) -> dict[str, Any]:
    """What a JSON body holds; nothing if it is none: the route itself says what is wrong."""
    try:
        found = msgspec.json.decode(body or b"{}")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}

"""`/v1/responses`: OpenAI's Responses API, by the chat models that are on sale."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Depends, Request, Response
from msgspec import Meta

from gateway import errors
from gateway.admission.admission import Admission
from gateway.admission.catalogue import Catalogue
from gateway.drivers.desk import Desk
from gateway.errors import ApiError
from gateway.openai.request import Endpoint, read_as
from gateway.responses.answer import UNDER_WAY
from gateway.responses.background import Background, Run
from gateway.responses.chat import refuse_unserved
from gateway.responses.items import ItemIds, Json
from gateway.responses.making import Making
from gateway.responses.schema import responses_request
from gateway.responses.shelf import Shelf, answer_of, asked_of
from gateway.responses.stream import error_event
from gateway.routes.auth import Authenticate
from gateway.routes.body import query_of
from gateway.routes.response_form import Followed, ResponseForm, refusal
from gateway.routes.told import Told
from metering.keys import ApiKey
from metering.ledger import LedgerError
from metering.stored_response import StoredResponse

LOOK_INTERVAL_S = 1.0
"""Between two looks at what another gateway makes."""


class ItemsPage(msgspec.Struct, frozen=True, kw_only=True):
    limit: Annotated[int, Meta(ge=1, le=100)] = 20
    order: Literal["asc", "desc"] = "desc"
    after: str | None = None


class Again(msgspec.Struct, frozen=True, kw_only=True):
    """How a response that is kept is wanted."""

    stream: bool = False
    starting_after: int = -1


def routes(
    admission: Admission,
    desk: Desk,
    shelf: Shelf,
    background: Background,
    catalogue: Catalogue,
    authenticate: Authenticate,
) -> APIRouter:
    api = APIRouter(prefix="/v1/responses", tags=["responses"])
    Caller = Annotated[ApiKey, Depends(authenticate)]  # noqa: N806 (a type)

    @api.post("")
    async def create(request: Request) -> Response:
        request_id = admission.new_request_id()
        try:
            key = await authenticate(request)
            making = await _asked(request, key, shelf, catalogue)
            if making.asked.background:
                return _begun(await background.start(making, key, request_id), request_id)
        except ApiError as error:
            return refusal(error, request_id)
        except LedgerError:
            return refusal(errors.limits_unknown(), request_id)
        form = ResponseForm(making, shelf, request_id)
        return Told(desk, key, Endpoint.CHAT, making.body, request_id, form)

    @api.get("/{response_id}")
    async def retrieve(
        caller: Caller, response_id: str, query: Annotated[Again, Depends(query_of(Again))]
    ) -> Response:
        kept = await shelf.get(caller.account, response_id)
        if not query.stream:
            return Response(kept.response, media_type="application/json")
        events = _again(kept, shelf, background.running(response_id))
        return Followed(_after(events, query.starting_after), admission.new_request_id())

    @api.delete("/{response_id}")
    async def delete(caller: Caller, response_id: str) -> Json:
        await shelf.delete(caller.account, response_id)
        background.leave(response_id)
        return {"id": response_id, "object": "response", "deleted": True}

    @api.post("/{response_id}/cancel")
    async def cancel(caller: Caller, response_id: str) -> Response:
        kept = await shelf.get(caller.account, response_id)
        _check_cancellable(kept)
        if kept.status in UNDER_WAY:
            kept = await background.cancel(kept)
        return Response(kept.response, media_type="application/json")

    @api.get("/{response_id}/input_items")
    async def input_items(
        caller: Caller, response_id: str, query: Annotated[ItemsPage, Depends(query_of(ItemsPage))]
    ) -> dict[str, Any]:
        return _page(asked_of(await shelf.get(caller.account, response_id)), query)

    return api


async def _asked(request: Request, key: ApiKey, shelf: Shelf, catalogue: Catalogue) -> Making:
    asked = read_as(responses_request, await request.body())
    refuse_unserved(asked)
    ids = ItemIds(secrets.token_hex(12))
    return await shelf.new(asked, key.account, ids, catalogue.get(asked.model))


def _check_cancellable(kept: StoredResponse) -> None:
    if not answer_of(kept)["background"]:
        raise errors.bad_request(
            "Only a response that was made with 'background' can be cancelled; one that is "
            "streamed is, by closing the connection.",
            param="response_id",
            code="not_cancellable",
        )


def _again(kept: StoredResponse, shelf: Shelf, run: Run | None) -> AsyncIterator[bytes]:
    if kept.events is None:
        raise errors.bad_request(
            "Only a response that was made with 'background' and 'stream' can be streamed again.",
            param="stream",
            code="unsupported_parameter",
        )
    return _elsewhere(shelf, kept) if run is None else _here(run)


def _begun(run: Run, request_id: str) -> Response:
    if run.followed:
        return Followed(_here(run), request_id)
    body = msgspec.json.encode(run.queued)
    return Response(body, 200, {"x-request-id": request_id}, "application/json")


def _page(items: list[Json], query: ItemsPage) -> dict[str, Any]:
    if query.order == "desc":
        items = items[::-1]
    ids = [item["id"] for item in items]
    if query.after is not None:
        if query.after not in ids:
            raise errors.bad_request(f"No item '{query.after[:100]}' is there.", param="after")
        items = items[ids.index(query.after) + 1 :]
    page = items[: query.limit]
    return {
        "object": "list",
        "data": page,
        "first_id": page[0]["id"] if page else "",
        "last_id": page[-1]["id"] if page else "",
        "has_more": len(items) > len(page),
    }


async def _here(run: Run) -> AsyncIterator[bytes]:
    """The events of what is made in this process, one by one."""
    sequence = 0
    async for events in run.follow():
        for each in _split(events):
            yield each
            sequence += 1
    if not run.followed:
        yield error_event(sequence, "The events are too many to be followed.", "server_error")


async def _elsewhere(shelf: Shelf, kept: StoredResponse) -> AsyncIterator[bytes]:
    """Those of what ended, once it has."""
    while kept.status in UNDER_WAY:
        yield b": keep-alive\n\n"
        await asyncio.sleep(LOOK_INTERVAL_S)
        kept = await shelf.get(kept.account, kept.response_id)
    for each in _split((kept.events or "").encode()):
        yield each
    if not kept.events:
        yield error_event(0, f"The response is {kept.status}; its events are gone.", "server_error")


def _split(events: bytes) -> list[bytes]:
    return [each + b"\n\n" for each in events.split(b"\n\n")[:-1]]


async def _after(events: AsyncIterator[bytes], starting_after: int) -> AsyncIterator[bytes]:
    """Without the first ones: they are numbered from 0."""
    sequence = -1
    async for each in events:
        sequence += each.startswith(b"event: ")
        if sequence > starting_after or not each.startswith(b"event: response."):
            yield each

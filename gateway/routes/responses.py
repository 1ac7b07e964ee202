"""`/v1/responses`: OpenAI's Responses API, by the chat models that are on sale."""

from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Depends, Request, Response
from msgspec import Meta

from gateway import errors
from gateway.admission.admission import Admission
from gateway.admission.catalogue import Catalogue
from gateway.drivers.desk import Desk
from gateway.drivers.idempotency import Idempotency
from gateway.errors import ApiError
from gateway.responses.answer import UNDER_WAY
from gateway.responses.background import Background
from gateway.responses.items import Json
from gateway.responses.shelf import Shelf, answer_of, asked_of
from gateway.routes.auth import Authenticate
from gateway.routes.body import query_of
from gateway.routes.refusals import refusal_of
from gateway.routes.response_events import after, events_of
from gateway.routes.response_form import Followed, refusal
from gateway.routes.response_start import Asking, Start, read
from gateway.routes.told import Told, ToldOnce, repeatable
from metering.keys import ApiKey
from metering.ledger import LedgerError
from metering.stored_response import StoredResponse


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
    idempotency: Idempotency,
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
            key, body = await authenticate(request), await request.body()
            asked = Asking(read(body), key, request_id, shelf, catalogue)
            again = repeatable(request, key, body, request_id)
            if asked.wanted.background:
                start = Start(asked, background)
                told = start.told() if again is None else start.told_once(idempotency, again)
                return await told
            if again is not None:
                return ToldOnce(idempotency, again, asked.chat, asked.form)
            return Told(desk, key, await asked.chat(), request_id, asked.form)
        except ApiError as error:
            return refusal(error, request_id)
        except LedgerError as error:
            return refusal(refusal_of(error), request_id)

    @api.get("/{response_id}")
    async def retrieve(
        caller: Caller, response_id: str, query: Annotated[Again, Depends(query_of(Again))]
    ) -> Response:
        kept = await shelf.get(caller.account, response_id)
        if not query.stream:
            return Response(kept.response, media_type="application/json")
        events = events_of(kept, shelf, background.running(response_id))
        return Followed(after(events, query.starting_after), admission.new_request_id())

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


def _check_cancellable(kept: StoredResponse) -> None:
    if not answer_of(kept)["background"]:
        raise errors.bad_request(
            "Only a response that was made with 'background' can be cancelled; one that is "
            "streamed is, by closing the connection.",
            param="response_id",
            code="not_cancellable",
        )


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

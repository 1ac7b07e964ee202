"""A response that is asked for: as a chat that answers it, or begun in the background."""

from __future__ import annotations

import secrets

import msgspec
from fastapi import Response

from gateway.admission.catalogue import Catalogue
from gateway.drivers.form import Asked
from gateway.drivers.idempotency import Idempotency, Repeatable
from gateway.openai.request import read_as
from gateway.responses.background import Background, Run
from gateway.responses.chat import refuse_unserved
from gateway.responses.items import ItemIds
from gateway.responses.making import Making
from gateway.responses.schema import ResponsesRequest, responses_request
from gateway.responses.shelf import Shelf
from gateway.routes.refusals import refusal_of
from gateway.routes.response_events import events_here, events_of
from gateway.routes.response_form import Followed, ResponseForm
from metering.keys import ApiKey
from metering.ledger import LedgerError

_JSON = "application/json"


def read(body: bytes) -> ResponsesRequest:
    """Raises ApiError (400)."""
    asked: ResponsesRequest = read_as(responses_request, body)
    refuse_unserved(asked)
    return asked


class Asking:
    """`form` tells the answer of `chat`."""

    def __init__(
        self,
        wanted: ResponsesRequest,
        key: ApiKey,
        request_id: str,
        shelf: Shelf,
        catalogue: Catalogue,
    ) -> None:
        self.wanted = wanted
        self.key = key
        self.request_id = request_id
        self.shelf = shelf
        self.form = ResponseForm(shelf, request_id)
        self._catalogue = catalogue

    async def making(self) -> Making:
        """Raises ApiError, and LedgerError when the database cannot answer."""
        ids, model = ItemIds(secrets.token_hex(12)), self._catalogue.get(self.wanted.model)
        return await self.shelf.new(self.wanted, self.key.account, ids, model)

    async def chat(self) -> Asked:
        """Raises ApiError."""
        try:
            return self.form.asked(await self.making())
        except LedgerError as error:
            raise refusal_of(error) from None


class Start:
    """Of one that is made in the background."""

    def __init__(self, asking: Asking, background: Background) -> None:
        self._asking = asking
        self._background = background

    async def told(self) -> Response:
        run, request_id = await self._start(), self._asking.request_id
        if run.followed:
            return Followed(events_here(run), request_id)
        body = msgspec.json.encode(run.queued)
        return Response(body, 200, {"x-request-id": request_id}, _JSON)

    async def told_once(self, idempotency: Idempotency, request: Repeatable) -> Response:
        """The same response again: as it was begun, or its events."""
        asking, begun = self._asking, await idempotency.begun(request, self._begin)
        headers = {"idempotent-replayed": "true"} if begun.again else {}
        if not asking.wanted.stream:
            headers["x-request-id"] = begun.request_id
            return Response(begun.body, 200, headers, _JSON)
        response_id = msgspec.json.decode(begun.body)["id"]
        kept = await asking.shelf.get(asking.key.account, response_id)
        run = self._background.running(response_id)
        followed = Followed(events_of(kept, asking.shelf, run), begun.request_id)
        followed.headers.update(headers)
        return followed

    async def _begin(self) -> bytes:
        return msgspec.json.encode((await self._start()).queued)

    async def _start(self) -> Run:
        asking = self._asking
        making = await asking.making()
        return await self._background.start(making, asking.key, asking.request_id)

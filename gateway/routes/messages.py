"""`/v1/messages` and `/v1/messages/count_tokens`: Anthropic's Messages API, by the chat models that
are on sale.
"""

from __future__ import annotations

from typing import Any

import msgspec
from fastapi import APIRouter, Request, Response

from gateway.admission.admission import Admission
from gateway.anthropic.chat import Json, chat_request, message, prompt
from gateway.anthropic.failure import failure, failure_of
from gateway.anthropic.schema import (
    MessagesRequest,
    TokensRequest,
    messages_request,
    tokens_request,
)
from gateway.anthropic.stream import MessageStream
from gateway.drivers.aside import Aside
from gateway.drivers.desk import Desk
from gateway.drivers.form import Asked
from gateway.drivers.idempotency import Idempotency
from gateway.errors import ApiError
from gateway.exchange.actions import Respond
from gateway.openai.request import Endpoint, read_as
from gateway.routes.auth import Authenticate
from gateway.routes.told import Told, ToldOnce, headers_of, repeatable

_decode = msgspec.json.Decoder(dict[str, Any]).decode


def routes(
    admission: Admission,
    desk: Desk,
    idempotency: Idempotency,
    aside: Aside,
    authenticate: Authenticate,
) -> APIRouter:
    router = APIRouter(prefix="/v1/messages", tags=["anthropic"])

    @router.post("")
    async def messages(request: Request) -> Response:
        request_id = admission.new_request_id()
        form = MessageForm(request_id)
        try:
            key, body = await authenticate(request), await request.body()

            async def ask() -> Asked:
                return form.asked(body)

            again = repeatable(request, key, body, request_id)
            if again is not None:
                return ToldOnce(idempotency, again, ask, form)
            return Told(desk, key, form.asked(body), request_id, form)
        except ApiError as error:
            return form.refusal(error)

    @router.post("/count_tokens")
    async def count_tokens(request: Request) -> Response:
        request_id = admission.new_request_id()
        form = MessageForm(request_id)
        try:
            await authenticate(request)
            asked: TokensRequest = read_as(tokens_request, await request.body())
            told = await aside.ask("/tokenize", _rendered(prompt(asked)), request_id)
        except ApiError as error:
            return form.refusal(error)
        return form.counted(told["count"])

    return router


def _rendered(body: Json) -> Json:
    """What of a chat makes its prompt."""
    return {name: body[name] for name in ("model", "messages", "tools") if name in body}


class MessageForm:
    """A `told.RefusingForm`."""

    id_headers = (b"request-id", b"x-request-id")

    def __init__(self, request_id: str) -> None:
        self._request_id = request_id
        self._message_id = "msg_" + request_id.rpartition("-")[2].rpartition("_")[2]
        self._headers = {"request-id": request_id, "x-request-id": request_id}

    def asked(self, body: bytes) -> Asked:
        """The chat that answers this request. Raises ApiError (400)."""
        asked: MessagesRequest = read_as(messages_request, body)
        chat = msgspec.json.encode(chat_request(asked))
        self._stream = MessageStream(self._message_id, asked.model)
        return Asked(Endpoint.CHAT, chat, self)

    def refusal(self, error: ApiError) -> Response:
        body = failure_of(error, self._request_id)
        headers = self._headers | headers_of(error)
        return Response(body, error.status, headers, "application/json")

    async def whole(self, answer: Respond) -> Respond:
        told = _decode(answer.body or b"")
        if answer.status == 200:
            body = msgspec.json.encode(message(told, self._message_id))
        else:
            body = failure(answer.status, told["error"]["message"], self._request_id)
        return Respond(answer.status, answer.content_type, body, answer.headers)

    def counted(self, tokens: int) -> Response:
        body = msgspec.json.encode({"input_tokens": tokens})
        return Response(body, 200, self._headers, "application/json")

    def head(self, answer: Respond) -> Respond:
        return answer

    def begin(self) -> bytes:
        return b""

    def feed(self, data: bytes) -> bytes:
        return self._stream.feed(data)

    async def end(self) -> bytes:
        return b""

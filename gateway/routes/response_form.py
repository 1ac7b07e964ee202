"""A response told to whoever asked for it: a `told.Form`, and the answer to who follows another."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import msgspec
from fastapi import Response
from starlette.types import Receive, Scope, Send

from gateway.drivers.form import Asked
from gateway.errors import ApiError
from gateway.exchange.actions import Respond
from gateway.openai.explain import UNKNOWN
from gateway.openai.request import Endpoint
from gateway.responses.chat import renamed
from gateway.responses.making import Making
from gateway.responses.shelf import Shelf
from gateway.routes.told import headers_of

_decode = msgspec.json.Decoder(dict[str, Any]).decode
_JSON = "application/json"


class ResponseForm:
    """A `told.RefusingForm`."""

    id_headers = (b"x-request-id",)
    _making: Making

    def __init__(self, shelf: Shelf, request_id: str) -> None:
        self._shelf = shelf
        self._request_id = request_id

    def asked(self, making: Making) -> Asked:
        """The chat that answers it."""
        self._making = making
        return Asked(Endpoint.CHAT, making.body, self)

    def refusal(self, error: ApiError) -> Response:
        return refusal(error, self._request_id)

    async def whole(self, answer: Respond) -> Respond:
        told = _decode(answer.body or b"")
        if answer.status == 200:
            self._making.stream.take(told)
            await self._put_away()
            told = self._making.stream.response
        else:
            error = told["error"]
            error["message"], error["param"] = renamed(error["message"], error["param"])
        body = msgspec.json.encode(told)
        return Respond(answer.status, answer.content_type, body, answer.headers)

    def head(self, answer: Respond) -> Respond:
        return answer

    def begin(self) -> bytes:
        return self._making.stream.begin()

    def feed(self, data: bytes) -> bytes:
        return self._making.stream.feed(data)

    async def end(self) -> bytes:
        """Once it is put away: whoever saw the last event can refer to it."""
        told = await self._put_away()
        return told + self._making.stream.last()

    async def _put_away(self) -> bytes:
        told = self._making.stream.end(int(time.time()))
        await self._shelf.put(self._making)
        return told


def refusal(error: ApiError, request_id: str) -> Response:
    """In the words of who knows nothing of chat completions."""
    if error.code != UNKNOWN:
        error.message, error.param = renamed(error.message, error.param)
    headers = headers_of(error) | {"x-request-id": request_id}
    return Response(error.body(), error.status, headers, _JSON)


class Followed(Response):
    """A stream of events that goes on whether its client stays or not."""

    def __init__(self, events: AsyncIterator[bytes], request_id: str) -> None:
        headers = {"x-request-id": request_id, "cache-control": "no-cache"}
        super().__init__(headers=headers, media_type="text/event-stream")
        del self.headers["content-length"]
        self._events = events

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        telling = asyncio.create_task(self._tell(send))
        leaving = asyncio.create_task(_left(receive))
        await asyncio.wait((telling, leaving), return_when=asyncio.FIRST_COMPLETED)
        leaving.cancel()
        if telling.done():
            telling.result()
        else:
            telling.cancel()

    async def _tell(self, send: Send) -> None:
        start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        await send(start)
        async for events in self._events:
            await send({"type": "http.response.body", "body": events, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass

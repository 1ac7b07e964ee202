"""An exchange's answer, told to a caller who asked in the words of another API."""

from __future__ import annotations

import asyncio
from typing import Protocol

from fastapi import Response
from starlette.types import Receive, Scope, Send

from gateway.drivers.coroutine import CoroutineDriver
from gateway.drivers.desk import Desk
from gateway.errors import ApiError
from gateway.exchange.actions import Respond
from gateway.openai.request import Endpoint
from metering.keys import ApiKey


class Form(Protocol):
    """The words of an API. Bytes in are those of the chat endpoint."""

    def refusal(self, error: ApiError) -> Response: ...

    async def whole(self, answer: Respond) -> Response:
        """Of an answer that is not a stream: a completion or an error object."""

    def stream_headers(self, answer: Respond) -> dict[str, str]: ...

    def begin(self) -> bytes:
        """What a stream begins with, before the model said anything."""

    def feed(self, data: bytes) -> bytes:
        """Part of a stream."""

    async def end(self) -> bytes:
        """What a stream ends with that came whole."""


class Told(Response):
    def __init__(
        self, desk: Desk, key: ApiKey, endpoint: Endpoint, body: bytes, request_id: str, form: Form
    ) -> None:
        super().__init__()
        self._asked = desk.ask(key, endpoint, body, request_id)
        self._form = form

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            async with self._asked as driver:
                leaving = asyncio.create_task(_leave(driver, receive))
                try:
                    await self._tell(driver, scope, receive, send)
                finally:
                    leaving.cancel()
        except ApiError as error:
            await self._form.refusal(error)(scope, receive, send)

    async def _tell(
        self, driver: CoroutineDriver, scope: Scope, receive: Receive, send: Send
    ) -> None:
        answer = await driver.answered()
        if answer is None:
            return
        if answer.body is not None:
            told = await self._form.whole(answer)
            await told(scope, receive, send)
            return
        headers = self._form.stream_headers(answer)
        head = Response(headers=headers, media_type="text/event-stream")
        del head.headers["content-length"]
        await send({"type": "http.response.start", "status": 200, "headers": head.raw_headers})
        if begun := self._form.begin():
            await send({"type": "http.response.body", "body": begun, "more_body": True})
        async for data in driver.chunks():
            if part := self._form.feed(data):
                await send({"type": "http.response.body", "body": part, "more_body": True})
        if driver.whole:
            await send({"type": "http.response.body", "body": await self._form.end()})


def headers_of(answer: Respond | ApiError) -> dict[str, str]:
    """As Starlette has them."""
    pairs = answer.headers() if isinstance(answer, ApiError) else answer.headers
    return {name.decode(): value.decode() for name, value in pairs}


async def _leave(driver: CoroutineDriver, receive: Receive) -> None:
    """When the client does."""
    while (await receive())["type"] != "http.disconnect":
        pass
    driver.leave()

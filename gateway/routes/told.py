"""An exchange's answer, told to a caller who asked in the words of another API."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

from fastapi import Request, Response
from starlette.types import Receive, Scope, Send

from gateway.drivers.asgi_listener import AsgiListener, start_of
from gateway.drivers.coroutine import CoroutineDriver
from gateway.drivers.desk import Desk
from gateway.drivers.form import Asked, Form
from gateway.drivers.idempotency import Idempotency, Repeatable
from gateway.errors import ApiError
from metering.keys import ApiKey


class RefusingForm(Form, Protocol):
    def refusal(self, error: ApiError) -> Response: ...


class Told(Response):
    """`form` is `asked.form`."""

    def __init__(
        self, desk: Desk, key: ApiKey, asked: Asked, request_id: str, form: RefusingForm
    ) -> None:
        super().__init__()
        self._asked = desk.ask(key, asked.endpoint, asked.body, request_id)
        self._request_id = request_id
        self._form = form

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            async with self._asked as driver:
                leaving = asyncio.create_task(_leave(driver, receive))
                try:
                    await self._tell(driver, send)
                finally:
                    leaving.cancel()
        except ApiError as error:
            await self._form.refusal(error)(scope, receive, send)

    async def _tell(self, driver: CoroutineDriver, send: Send) -> None:
        answer = await driver.answered()
        if answer is None:
            return
        form = self._form
        told = form.head(answer) if answer.body is None else await form.whole(answer)
        await send(start_of(told, self._request_id, form.id_headers))
        if told.body is not None:
            await send({"type": "http.response.body", "body": told.body})
            return
        if begun := self._form.begin():
            await send({"type": "http.response.body", "body": begun, "more_body": True})
        async for data in driver.chunks():
            if part := self._form.feed(data):
                await send({"type": "http.response.body", "body": part, "more_body": True})
        if driver.whole:
            await send({"type": "http.response.body", "body": await self._form.end()})


class ToldOnce(Response):
    """To a request with an Idempotency-Key; `ask` may refuse it."""

    def __init__(
        self,
        idempotency: Idempotency,
        request: Repeatable,
        ask: Callable[[], Awaitable[Asked]],
        form: RefusingForm,
    ) -> None:
        super().__init__()
        self._idempotency = idempotency
        self._request = request
        self._ask = ask
        self._form = form

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        listener = AsgiListener(send, self._form.id_headers)
        try:
            await self._idempotency.answer(self._request, self._ask, listener)
        except ApiError as error:
            await self._form.refusal(error)(scope, receive, send)


def repeatable(request: Request, key: ApiKey, body: bytes, request_id: str) -> Repeatable | None:
    """None: it has no Idempotency-Key."""
    name = request.headers.get("idempotency-key")
    if name is None:
        return None
    asked = request.url.path.encode() + b"\0" + body
    return Repeatable(name=name.encode("latin-1"), key=key, asked=asked, request_id=request_id)


def headers_of(error: ApiError) -> dict[str, str]:
    """As Starlette has them."""
    return {name.decode(): value.decode() for name, value in error.headers()}


async def _leave(driver: CoroutineDriver, receive: Receive) -> None:
    """When the client does."""
    while (await receive())["type"] != "http.disconnect":
        pass
    driver.leave()

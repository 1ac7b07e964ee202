"""JSON bodies and query parameters of the routes that FastAPI serves, judged by msgspec."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec
from fastapi import Request

from gateway.openai.explain import explain
from gateway.openai.request import read_as

T = TypeVar("T")


def json_body(type: type[T]) -> Callable[[Request], Awaitable[T]]:
    """A dependency that reads the request's body as this type or answers 400, naming the field."""
    decoder = msgspec.json.Decoder(type)

    async def body(request: Request) -> T:
        return read_as(decoder, await request.body() or b"{}")

    return body


def query_of(type: type[T]) -> Callable[[Request], Awaitable[T]]:
    """The same for a query string; a parameter that is given twice counts once, the last time."""

    async def query(request: Request) -> T:
        try:
            return msgspec.convert(dict(request.query_params), type, strict=False)
        except msgspec.ValidationError as error:
            raise explain(str(error), type) from None

    return query

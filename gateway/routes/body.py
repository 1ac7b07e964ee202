"""JSON bodies and query parameters of the routes that FastAPI serves, judged by msgspec."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec
from fastapi import Request

from gateway import errors
from gateway.errors import ApiError

T = TypeVar("T")

_PATH = re.compile(r" - at `\$(?:\.([^`]*))?`$")


def json_body(type: type[T]) -> Callable[[Request], Awaitable[T]]:
    """A dependency that reads the request's body as this type or answers 400, naming the field."""
    decoder = msgspec.json.Decoder(type)

    async def body(request: Request) -> T:
        raw = await request.body()
        try:
            return decoder.decode(raw or b"{}")
        except msgspec.ValidationError as error:
            raise refused(str(error)) from None
        except msgspec.DecodeError as error:
            raise errors.invalid_json(str(error)) from None

    return body


def query_of(type: type[T]) -> Callable[[Request], Awaitable[T]]:
    """The same for a query string; a parameter that is given twice counts once, the last time."""

    async def query(request: Request) -> T:
        try:
            return msgspec.convert(dict(request.query_params), type, strict=False)
        except msgspec.ValidationError as error:
            raise refused(str(error)) from None

    return query


def refused(problem: str) -> ApiError:
    """400 for what msgspec says of a value."""
    match = _PATH.search(problem)
    message = problem if match is None else problem[: match.start()]
    return errors.bad_request(
        f"{message}.", param=(match and match[1]) or None, code="invalid_value"
    )

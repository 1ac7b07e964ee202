"""The key check of every route that FastAPI serves."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from fastapi import Request

from gateway.admission.admission import Admission, settled
from metering.keys import ApiKey

Authenticate = Callable[[Request], Awaitable[ApiKey]]


def authenticate_with(admission: Admission) -> Authenticate:
    """A dependency that yields the caller's key or answers 401."""

    async def authenticate(request: Request) -> ApiKey:
        headers = dict(request.headers.raw)
        if b"x-api-key" in headers:  # as Anthropic's clients send it
            headers.setdefault(b"authorization", b"Bearer " + headers[b"x-api-key"])
        return await settled(lambda known: admission.authenticate(headers, known))

    return authenticate

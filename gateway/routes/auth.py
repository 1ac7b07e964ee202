"""The key check of every route that FastAPI serves."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from fastapi import Request

from gateway import errors
from gateway.admission.admission import Admission, settled
from metering.keys import ApiKey

_TWO_KEYS = (
    "The headers 'Authorization' and 'x-api-key' hold different API keys. Send one of them, or "
    "the same key in both."
)

Authenticate = Callable[[Request], Awaitable[ApiKey]]


def authenticate_with(admission: Admission) -> Authenticate:
    """A dependency that yields the caller's key or answers 401; 400 if there are two."""

    async def authenticate(request: Request) -> ApiKey:
        headers = dict(request.headers.raw)
        secrets = {value for name, value in request.headers.raw if name == b"x-api-key" and value}
        if secrets:  # as Anthropic's clients send it
            if b"authorization" in headers:
                secrets.add(headers[b"authorization"].partition(b" ")[2].strip())
            if len(secrets) > 1:
                raise errors.bad_request(_TWO_KEYS, code="two_api_keys")
            headers[b"authorization"] = b"Bearer " + secrets.pop()
        return await settled(lambda known: admission.authenticate(headers, known))

    return authenticate

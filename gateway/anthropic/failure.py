"""Refusals in the words of Anthropic's API. Pure. https://docs.anthropic.com/en/api/errors"""

from __future__ import annotations

import msgspec

from gateway.errors import ApiError

_TYPES = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
}


def failure(status: int, message: str, request_id: str) -> bytes:
    """The body of an answer of this status."""
    kind = _TYPES.get(status, "api_error" if status >= 500 else "invalid_request_error")
    error = {"type": kind, "message": message}
    return msgspec.json.encode({"type": "error", "error": error, "request_id": request_id})


def failure_of(error: ApiError, request_id: str) -> bytes:
    return failure(error.status, error.message, request_id)

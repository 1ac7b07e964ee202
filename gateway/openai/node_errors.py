"""vLLM's error answers told as OpenAI's.

vLLM puts the HTTP status into `code`, a Python class name into `type` and its own field names into
`param`; this is the one place that knows. The forms were captured from vLLM 0.32.
"""

from __future__ import annotations

import re

import msgspec

from gateway import errors
from gateway.errors import ApiError
from metering.stream_meter import UNREADABLE

OVERLOADED_STATUSES = frozenset({429, 503})
"""The node is well but full: another replica may take the request."""

CLIENT_FAULT_STATUSES = frozenset({400, 413, 422})
"""The request itself is at fault: no other replica would take it."""

_CONTEXT_MESSAGE = re.compile(
    r"maximum (?:context|model) length (?:is|of) (\d+)|cannot be greater than max_model_len=(\d+)"
)
_SUBJECT = re.compile(r"([a-z_.]+) (?:must|cannot) ")
"""Of what vLLM's sampling refuses without a `param`: "n must be 1 when using greedy sampling"."""
_PARAMETER_SUFFIX = re.compile(r"\s*\(parameter=[^)]*\)\s*$")


class _NodeError(msgspec.Struct):
    message: str = ""
    type: str | None = None
    param: str | None = None
    code: int | str | None = None


class _NodeErrorBody(msgspec.Struct):
    error: _NodeError | str | None = None
    detail: object = None


_NO_REASON = "The model's server refused the request without a readable reason."
_decoder = msgspec.json.Decoder(_NodeErrorBody)
_event_decoder = msgspec.json.Decoder(_NodeError)


def translate(status: int, body: bytes, *, prompt_param: str) -> ApiError:
    """The client's view of a node's refusal; `prompt_param` names the field that holds the prompt.

    Only called for statuses in CLIENT_FAULT_STATUSES: every other failure of a node is the
    gateway's to hide or to own.
    """
    return _client_fault(status, *_read(body), prompt_param)


def translate_event(error: bytes, *, prompt_param: str) -> ApiError | None:
    """The same of the error object in a stream; None if it is not the client's fault."""
    try:
        told = _event_decoder.decode(error)
    except UNREADABLE:
        return None
    if not isinstance(told.code, int) or told.code not in CLIENT_FAULT_STATUSES:
        return None
    return _client_fault(told.code, told.message, _field(told), prompt_param)


def unserved(status: int, body: bytes, model: str, path: str) -> ApiError | None:
    """Where every node that was asked said that it does not serve this; None if it is something
    else that failed. A node's own words list what it serves, so they are not passed on.
    """
    if status == 404:
        try:
            named = _decoder.decode(body).error
        except UNREADABLE:
            return None
        if isinstance(named, _NodeError):
            return errors.unknown_model(model)
        return errors.unsupported_endpoint(model, path)
    return errors.unsupported_endpoint(model, path) if status == 501 else None


def _client_fault(status: int, message: str, param: str | None, prompt_param: str) -> ApiError:
    message = _PARAMETER_SUFFIX.sub("", message) or _NO_REASON
    too_long = _CONTEXT_MESSAGE.search(message)
    if too_long:
        where = "max_tokens" if too_long.group(2) else prompt_param
        return errors.bad_request(message, param=where, code="context_length_exceeded")
    if status == 413:
        return ApiError(413, message, code="request_too_large")
    subject = _SUBJECT.match(message) if param is None else None
    return errors.bad_request(message, param=subject[1] if subject else param)


def _read(body: bytes) -> tuple[str, str | None]:
    try:
        answer = _decoder.decode(body)
    except UNREADABLE:
        return _NO_REASON, None
    if isinstance(answer.error, _NodeError):
        return answer.error.message, _field(answer.error)
    reason = answer.error or answer.detail or "no reason given"
    return f"The model's server refused the request: {reason}", None


def _field(error: _NodeError) -> str | None:
    return (error.param or "").removeprefix("body").removeprefix(".") or None

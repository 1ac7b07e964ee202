"""What a client is told at the end of an exchange: an answer, a refusal, a failure. Pure."""

from __future__ import annotations

import msgspec

from gateway.errors import ApiError
from gateway.exchange.actions import Respond, Send
from gateway.openai.request import Endpoint
from metering.charge import ChargeRecord, OpenCharge
from metering.stream_meter import in_openais_words

DONE_LINE = b"data: [DONE]\n\n"
_JSON = b"application/json"
_PROCESSING = b"openai-processing-ms"
STREAM_HEAD = Respond(200, b"text/event-stream; charset=utf-8")
KEEP_ALIVE = Send(b": keep-alive\n\n")
_ERROR_TYPES = {
    400: "invalid_request",
    401: "authentication",
    402: "payment_required",
    403: "permission_denied",
    404: "not_found",
    413: "payload_too_large",
    429: "rate_limit_exceeded",
}
"""OpenRouter's names; of any other status it is `server`."""

_EVENTS = {
    Endpoint.CHAT: ("chatcmpl-", "chat.completion.chunk"),
    Endpoint.COMPLETIONS: ("cmpl-", "text_completion"),
}


_NO_NULLS = (
    b',"annotations":null',
    b',"function_call":null',
    b',"completion_tokens_details":null',
    b',"prompt_tokens_details":null',
)
"""What vLLM writes for a field that is not there; OpenAI's API has the field or not, never null."""


def whole(answer: bytes, elapsed_ns: int) -> Respond:
    """`elapsed_ns` is the time since the request was accepted."""
    for field in _NO_NULLS:
        answer = answer.replace(field, b"")  # inside a string the quotes would be escaped
    processing = (_PROCESSING, b"%d" % (elapsed_ns // 1_000_000))
    return Respond(200, _JSON, in_openais_words(answer), (processing,))


def refusal(error: ApiError, elapsed_ns: int) -> Respond:
    headers = ((_PROCESSING, b"%d" % (elapsed_ns // 1_000_000)), *error.headers())
    return Respond(error.status, _JSON, error.body(), headers)


def event_head(charge: OpenCharge | ChargeRecord, endpoint: Endpoint) -> dict[str, object]:
    """Of an event of the gateway's own among a node's. vLLM makes its answer's id of the request's
    in this way, so that all events of a stream have one.
    """
    prefix, kind = _EVENTS[endpoint]
    return {
        "id": prefix + charge.request_id,
        "object": kind,
        "created": charge.created_ns // 10**9,
        "model": charge.model,
    }


def failure_event(error: ApiError, charge: OpenCharge, endpoint: Endpoint) -> Send:
    """A failure inside a stream that has begun, in the form that OpenRouter emits and that openai
    SDKs raise on: a chunk with a top-level `error` and finish reason `error`.
    """
    known = {"context_length_exceeded": "context_length_exceeded"}
    error_type = known.get(error.code or "") or _ERROR_TYPES.get(error.status, "server")
    chat = endpoint is Endpoint.CHAT
    choice = {"index": 0, **({"delta": {"content": ""}} if chat else {"text": ""})}
    chunk = {
        **event_head(charge, endpoint),
        "choices": [{**choice, "logprobs": None, "finish_reason": "error"}],
        "error": {
            "code": error.status,
            "message": error.message,
            "metadata": {"error_type": error_type, "provider_code": error.code or error.type},
        },
    }
    return Send(b"data: " + msgspec.json.encode(chunk) + b"\n\n")

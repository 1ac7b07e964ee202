"""What a client is told, as actions: the parts of an answer that are always the same. Pure."""

from __future__ import annotations

from gateway.errors import ApiError
from gateway.exchange.actions import Action, End, Respond, Send

_JSON = b"application/json"

STREAM_HEAD = Respond(200, b"text/event-stream; charset=utf-8")
KEEP_ALIVE = Send(b": keep-alive\n\n")
DONE_LINE = b"data: [DONE]\n\n"


def whole(answer: bytes) -> list[Action]:
    return [Respond(200, _JSON, answer), End()]


def failure(error: ApiError, *, in_stream: bool) -> list[Action]:
    """`in_stream`: the client has its 200, so it is told there."""
    if in_stream:
        return [Send(error.stream_event()), End()]
    return [Respond(error.status, _JSON, error.body(), tuple(error.headers())), End()]

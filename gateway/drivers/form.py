"""The words in which an answer is told: those of the inference routes, or of another API."""

from __future__ import annotations

from typing import Protocol

import msgspec

from gateway.exchange.actions import Respond
from gateway.exchange.answers import DONE_LINE
from gateway.openai.request import Endpoint


class Form(Protocol):
    """One answer's. Bytes in are those of the endpoint that is asked."""

    @property
    def id_headers(self) -> tuple[bytes, ...]:
        """Those that name the request."""

    async def whole(self, answer: Respond) -> Respond:
        """Of an answer that is not a stream: a completion or an error object."""

    def head(self, answer: Respond) -> Respond:
        """Of a stream."""

    def begin(self) -> bytes:
        """What a stream begins with, before the model said anything."""

    def feed(self, data: bytes) -> bytes:
        """Part of a stream; of its last line, all but what waits for `end`."""

    async def end(self) -> bytes:
        """What a stream ends with that came whole."""


class Asked(msgspec.Struct, frozen=True, gc=False):
    """What is asked of an endpoint, and how its answer is told."""

    endpoint: Endpoint
    body: bytes
    form: Form


class Plain:
    """As the endpoint tells it."""

    id_headers = (b"x-request-id",)

    def __init__(self) -> None:
        self._done = b""

    async def whole(self, answer: Respond) -> Respond:
        return answer

    def head(self, answer: Respond) -> Respond:
        return answer

    def begin(self) -> bytes:
        return b""

    def feed(self, data: bytes) -> bytes:
        if data != DONE_LINE:
            return data
        self._done = data
        return b""

    async def end(self) -> bytes:
        return self._done

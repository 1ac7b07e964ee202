"""The rest of a broken stream, told as if the node that began it had gone on. Pure.

It comes as the stream of a completion, whose prompt has all that was delivered before; it leaves in
the form of the stream that it goes on with: same id, time, model, and one usage for the whole.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw

from gateway.openai.request import Endpoint, Question
from metering.stream_meter import UNREADABLE, MalformedStreamError
from metering.token_meter import TokenMeter
from metering.usage import Usage

_encoder = msgspec.json.Encoder()


class Head(msgspec.Struct, frozen=True):
    """What all events of a stream have in common."""

    id: Raw = Raw(b"null")
    object: Raw = Raw(b"null")
    created: Raw = Raw(b"null")
    model: Raw = Raw(b"null")


class _Choice(msgspec.Struct):
    text: str = ""
    finish_reason: Raw = Raw(b"null")
    stop_reason: Raw = Raw(b"null")


class _Event(msgspec.Struct):
    choices: list[_Choice]


_event_decoder = msgspec.json.Decoder(_Event)


class StitchedMeter(TokenMeter):
    """Counts what this node made; tells it and what was delivered before it together."""

    __slots__ = ("_before", "_chat", "_head", "_running_wanted", "_usage_due", "_usage_wanted")

    def __init__(self, question: Question, head: Head, before: Usage) -> None:
        super().__init__(keep_closing=False)
        self._head = head
        self._before = before
        self._chat = question.endpoint is Endpoint.CHAT
        self._running_wanted = question.running_usage_wanted
        self._usage_wanted = question.usage_wanted and not question.tells_usage
        self._usage_due = True

    def _event(self, event: bytes) -> bytes:
        passed = super()._event(event)
        if passed.startswith(b"data:"):
            return self._retold(passed)
        closing = self.closing
        if closing is not None and self._usage_due:
            self._usage_due = False
            return self.closed(closing)
        return passed

    def closed(self, own: Usage) -> bytes:
        """The closing event, if it is to be passed on; it is kept in any case."""
        self.closing_event = _encoder.encode(self._told([], own))
        return b"data: %b\n\n" % self.closing_event if self._usage_wanted else b""

    def _retold(self, event: bytes) -> bytes:
        try:
            (choice,) = _event_decoder.decode(event[5:]).choices
        except (*UNREADABLE, ValueError) as error:
            raise MalformedStreamError(f"an event is no completion's: {error}") from None
        finished = bytes(choice.finish_reason) != b"null"
        told: dict[str, Any] = {"index": 0}
        if self._chat:
            told["delta"] = {"content": choice.text} if choice.text else {}
        else:
            told["text"] = choice.text
        told |= {"logprobs": None, "finish_reason": choice.finish_reason}
        if finished or not self._chat:
            told["stop_reason"] = choice.stop_reason
        if not self._chat:
            told["prompt_token_ids"] = None
        told["token_ids"] = None
        usage = self.running if self._running_wanted else None
        return b"data: %b\n\n" % _encoder.encode(self._told([told], usage))

    def _told(self, choices: list[dict[str, Any]], usage: Usage | None) -> dict[str, Any]:
        head = self._head
        fields = {"id": head.id, "object": head.object, "created": head.created}
        event: dict[str, Any] = {**fields, "model": head.model, "choices": choices}
        if usage is not None:
            event["usage"] = summed(self._before, usage)
        return event


def summed(before: Usage, own: Usage) -> dict[str, Any]:
    """The usage of a whole answer, of whose tokens the last node made `own`."""
    prompt = before.prompt_tokens
    completion = before.completion_tokens + own.completion_tokens
    return {
        "prompt_tokens": prompt,
        "total_tokens": prompt + completion,
        "completion_tokens": completion,
    }

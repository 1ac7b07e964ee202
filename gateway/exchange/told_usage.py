"""The usage at the end of an answer, as the gateway tells it itself. Pure.

To who asked with `"usage": {"include": true}`, with what it cost, in OpenRouter's form: a whole
answer's `usage` and a stream's closing usage event carry `cost`, in USD. `cost_nano_usd` beside it
is the same as an integer. It is what the customer is charged for this answer, out of the very
function that the ledger books by; all else that the node said of usage stays as it was.

To a key with `usage_always`, whether or not the node told any, with cached and reasoning tokens.
"""

from __future__ import annotations

import msgspec

from gateway.exchange.actions import Action, Respond, Send
from gateway.exchange.answers import event_head
from gateway.openai.request import Endpoint, Question
from metering.charge import ChargeRecord
from metering.money import format_usd
from metering.stream_meter import UNREADABLE

_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])
_fields_or_null = msgspec.json.Decoder(dict[str, msgspec.Raw] | None)
_encoder = msgspec.json.Encoder()


def with_usage(
    last: list[Action], charge: ChargeRecord, question: Question, closing_event: bytes
) -> list[Action]:
    """The end of an answer with its usage told: in a whole one itself, in a stream by a usage event
    ahead of its last line. An error's body is left alone.

    `closing_event` is the data of the node's, empty if it sent none.
    """
    told: list[Action] = []
    for action in last:
        if type(action) is Respond and action.body is not None and action.status == 200:
            body = _with_usage(action.body, charge, question)
            told.append(Respond(action.status, action.content_type, body, action.headers))
            continue
        if type(action) is Send:
            event = closing_event or _own_event(charge, question.endpoint)
            event = _with_usage(event, charge, question)
            told.append(Send(b"data: " + event + b"\n\n"))
        told.append(action)
    return told


def _with_usage(answer: bytes, charge: ChargeRecord, question: Question) -> bytes:
    """Raw values keep the bytes in which the node wrote them. What the client could not read
    either (a key that is no UTF-8) stays as it is.
    """
    try:
        fields = _fields.decode(answer)
        usage = _fields_or_null.decode(fields.get("usage", b"null")) or _own_usage(charge)
        if question.usage_always and "completion_tokens" in usage:
            _add_details(usage, charge)
    except UNREADABLE:
        return answer
    if question.cost_wanted:
        usage["cost"] = msgspec.Raw(format_usd(charge.charged_nano_usd).encode())
        usage["cost_nano_usd"] = msgspec.Raw(b"%d" % charge.charged_nano_usd)
    fields["usage"] = msgspec.Raw(_encoder.encode(usage))
    return _encoder.encode(fields)


def _own_usage(charge: ChargeRecord) -> dict[str, msgspec.Raw]:
    """Where the node told none: what is charged for."""
    prompt, completion = charge.prompt_tokens, charge.completion_tokens
    usage = {
        "prompt_tokens": b"%d" % prompt,
        "completion_tokens": b"%d" % completion,
        "total_tokens": b"%d" % (prompt + completion),
        "prompt_tokens_details": b'{"cached_tokens":%d}' % charge.cached_tokens,
        "completion_tokens_details": b'{"reasoning_tokens":%d}' % charge.reasoning_tokens,
    }
    return {name: msgspec.Raw(value) for name, value in usage.items()}


def _add_details(usage: dict[str, msgspec.Raw], charge: ChargeRecord) -> None:
    """Cached and reasoning tokens, where the node did not tell them. Raises one of UNREADABLE."""
    told = {
        "prompt_tokens_details": ("cached_tokens", charge.cached_tokens),
        "completion_tokens_details": ("reasoning_tokens", charge.reasoning_tokens),
    }
    for name, (field, tokens) in told.items():
        details = _fields_or_null.decode(usage.get(name, b"null")) or {}
        details.setdefault(field, msgspec.Raw(b"%d" % tokens))
        usage[name] = msgspec.Raw(_encoder.encode(details))


def _own_event(charge: ChargeRecord, endpoint: Endpoint) -> bytes:
    return _encoder.encode({**event_head(charge, endpoint), "choices": []})

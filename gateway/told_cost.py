"""What an answer cost, told in its usage, to who asked with `"usage": {"include": true}`. Pure.

OpenRouter's form: a whole answer's `usage` and a stream's closing usage event carry `cost`, in USD.
`cost_nano_usd` beside it is the same as an integer. It is what the customer is charged for this
answer, out of the very function that the ledger books by; all else that the node said of usage
stays as it was.
"""

from __future__ import annotations

import msgspec

from gateway.actions import Action, Respond, Send
from metering.charge import ChargeRecord
from metering.money import format_usd

_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])
_fields_or_null = msgspec.json.Decoder(dict[str, msgspec.Raw] | None)
_encoder = msgspec.json.Encoder()


def with_cost(last: list[Action], charge: ChargeRecord, closing_event: bytes) -> list[Action]:
    """The end of an answer with its cost told: in a whole one itself, in a stream by a usage event
    ahead of its last line. An error's body is left alone.

    `closing_event` is the data of the node's, empty if it sent none.
    """
    told: list[Action] = []
    for action in last:
        if type(action) is Respond and action.body is not None and action.status == 200:
            body = _with_usage(action.body, charge)
            action = Respond(action.status, action.content_type, body, action.headers)
        elif type(action) is Send:
            event = _with_usage(closing_event or _own_event(charge), charge)
            told.append(Send(b"data: " + event + b"\n\n"))
        told.append(action)
    return told


def _with_usage(answer: bytes, charge: ChargeRecord) -> bytes:
    """Raw values keep the bytes in which the node wrote them."""
    fields = _fields.decode(answer)
    usage = _fields_or_null.decode(fields.get("usage", b"null")) or _own_usage(charge)
    usage["cost"] = msgspec.Raw(format_usd(charge.charged_nano_usd).encode())
    usage["cost_nano_usd"] = msgspec.Raw(b"%d" % charge.charged_nano_usd)
    fields["usage"] = msgspec.Raw(_encoder.encode(usage))
    return _encoder.encode(fields)


def _own_usage(charge: ChargeRecord) -> dict[str, msgspec.Raw]:
    """Where the node told none: what is charged for."""
    prompt, completion = charge.prompt_tokens, charge.completion_tokens
    counts = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }
    return {name: msgspec.Raw(b"%d" % count) for name, count in counts.items()}


def _own_event(charge: ChargeRecord) -> bytes:
    return _encoder.encode(
        {
            "id": charge.request_id,
            "object": "chat.completion.chunk",
            "created": charge.created_ns // 10**9,
            "model": charge.model,
            "choices": [],
        }
    )

"""The body that a node gets. Pure."""

from __future__ import annotations

import msgspec
from msgspec import Raw

from gateway.openai.reasoning import told_to_vllm
from gateway.openai.request import Question
from gateway.openai.schema import ChatRequest
from gateway.openai.tenant import cache_salt, salted_tail

_fields = msgspec.json.Decoder(dict[str, Raw])
_encoder = msgspec.json.Encoder()

_RUNNING_USAGE = b'{"include_usage":true,"continuous_usage_stats":true}'
_CLOSING_USAGE = b'{"include_usage":true}'
_STREAM_OPTIONS = b',"stream_options":' + _RUNNING_USAGE


_TOKEN_IDS = b',"return_token_ids":true'


def for_node(
    question: Question, body: bytes, *, served_model: str, is_vllm: bool, ids: bool = False
) -> bytes:
    """The body for the node, which is asked to report usage: a vLLM on every event of a stream, so
    that one cut short is billed to the token. A vLLM is also told the account's cache salt, and
    asked for the `ids` of the tokens, if they will be kept.

    A vLLM gets the client's bytes, with our options appended: of a key that comes twice it takes
    the last, as we did. Another server might take the first, so it gets every key once.
    """
    if is_vllm and served_model == question.model and question.as_sent:
        options = _STREAM_OPTIONS if question.stream else b""
        if ids:
            options += _TOKEN_IDS
        return body.rstrip()[:-1] + salted_tail(question.account, options)
    fields = _fields.decode(body)
    request = question.request
    if question.has_unknown:
        known = frozenset(request.__struct_fields__)
        fields = {name: value for name, value in fields.items() if name in known}
    fields.pop("usage", None)
    fields.pop("provider", None)
    if isinstance(request, ChatRequest) and request.reasoning is not None:
        del fields["reasoning"]
        told = told_to_vllm(request.reasoning)
        fields |= {name: Raw(_encoder.encode(value)) for name, value in told.items()}
    fields["model"] = Raw(_encoder.encode(served_model))
    if is_vllm or request.cache_salt is not None:
        salt = cache_salt(question.account, request.cache_salt or "")
        fields["cache_salt"] = Raw(b'"%b"' % salt)
    if question.stream:
        fields["stream_options"] = Raw(_RUNNING_USAGE if is_vllm else _CLOSING_USAGE)
    if ids:
        fields["return_token_ids"] = Raw(b"true")
    return _encoder.encode(fields)

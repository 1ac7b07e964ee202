"""A stream that broke off, gone on with on another vLLM: which can be, and what is asked. Pure.

By ids the continuation is exact: what was delivered becomes the end of the prompt. So a request can
be gone on with if its prompt and what was delivered are all that its next token depends on.
"""

from __future__ import annotations

import msgspec
from msgspec import Raw

from gateway.openai.request import Question
from gateway.openai.schema import ChatRequest, CompletionRequest
from gateway.openai.tenant import cache_salt

PROMPT_BYTES_MAX = 128 * 1024
"""Of a body: the ids of a longer prompt might not fit into an event."""

PATH = "/v1/completions"
SEED_MAX = 2**63 - 1

_SAME = (
    "allowed_token_ids",
    "ignore_eos",
    "logit_bias",
    "min_p",
    "repetition_penalty",
    "skip_special_tokens",
    "spaces_between_special_tokens",
    "stop_token_ids",
    "stream_interval",
    "temperature",
    "top_k",
    "top_p",
)
"""Parameters that mean the same in the continuation."""

_fields = msgspec.json.Decoder(dict[str, Raw])
_encoder = msgspec.json.Encoder()


def can_go_on(question: Question) -> bool:
    """Not so: several choices, tools, structured output, logprobs, stop strings (of which a node
    holds text back), what counts the tokens of the answer itself, and who asked for ids.
    """
    request = question.request
    if not isinstance(request, ChatRequest | CompletionRequest):
        return False
    if isinstance(request, ChatRequest):
        alone = request.tools is None and not request.echo and request.thinking_token_budget is None
    else:
        alone = request.suffix is None and not request.echo
    return (
        alone
        and question.choices == 1
        and question.body_bytes <= PROMPT_BYTES_MAX
        and not question.reasoning_alias
        and not request.logprobs
        and not request.stop
        and not request.bad_words
        and not request.frequency_penalty
        and not request.presence_penalty
        and request.structured_outputs is None
        and (request.response_format is None or request.response_format.type == "text")
        and not request.use_beam_search
        and request.repetition_detection is None
        and not request.watermarking
        and request.truncate_prompt_tokens is None
        and not request.return_token_ids
        and not request.return_tokens_as_token_ids
    )


def continuation(
    question: Question,
    body: bytes,
    ids: bytes,
    *,
    served_model: str,
    delivered_tokens: int,
    tokens_max: int,
) -> bytes:
    """The body for the node that goes on. `ids` are the prompt's and those delivered, between
    commas; `tokens_max` is how many may follow them.
    """
    request = question.request
    assert isinstance(request, ChatRequest | CompletionRequest)
    given = _fields.decode(body)
    fields = {name: given[name] for name in _SAME if name in given}
    if request.seed is not None:
        fields["seed"] = _raw((request.seed + delivered_tokens) % SEED_MAX)
    if request.min_tokens > delivered_tokens:
        fields["min_tokens"] = _raw(request.min_tokens - delivered_tokens)
    fields |= {
        "model": _raw(served_model),
        "prompt": Raw(b"[%b]" % ids),
        "max_tokens": _raw(tokens_max),
        "stream": Raw(b"true"),
        "stream_options": Raw(b'{"include_usage":true,"continuous_usage_stats":true}'),
        "return_token_ids": Raw(b"true"),
        "cache_salt": Raw(b'"%b"' % cache_salt(question.account, request.cache_salt or "")),
    }
    return _encoder.encode(fields)


def _raw(value: int | str) -> Raw:
    return Raw(_encoder.encode(value))

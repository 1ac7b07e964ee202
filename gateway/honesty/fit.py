"""What of a request can be held against its usage: how well answer and prompt can be counted. Pure.

A client must not be able to put an honest node in a bad light. So what lets a client bend tokens
away from text (a bias on single tokens, going on behind the end) is not counted again at all.
"""

from __future__ import annotations

import msgspec

from gateway.openai.reasoning import hides_reasoning
from gateway.openai.request import Question
from gateway.openai.schema import (
    ChatRequest,
    CompletionRequest,
    EmbeddingRequest,
    Generating,
    Message,
)
from metering.recount import Fit

HOT = 1.5
"""Above this temperature a model writes what nobody would."""


class PromptParts(msgspec.Struct, frozen=True, kw_only=True):
    """All prompts of a request."""

    texts: list[str]
    token_ids: int
    """Given as such."""
    template: bool
    shape: str
    """Prompts of one shape get the same from a chat template, whatever their length."""


def fit_of(question: Question) -> Fit:
    """How well the answer's tokens can be told from its text."""
    request = question.request
    if not isinstance(request, ChatRequest | CompletionRequest) or _is_bent(request):
        return Fit.NONE
    if isinstance(request, ChatRequest) and hides_reasoning(request):
        return Fit.NONE
    return Fit.SHAPED if _is_shaped(request) else Fit.PLAIN


def _is_bent(request: Generating) -> bool:
    """The client may choose single tokens, or there is more in the answer than was generated."""
    return bool(
        request.ignore_eos
        or request.logit_bias
        or request.allowed_token_ids
        or request.stop_token_ids
        or request.use_beam_search
        or request.skip_special_tokens is False
        or request.echo
    )


def _is_shaped(request: Generating) -> bool:
    shape = request.response_format
    penalties = (request.frequency_penalty, request.presence_penalty)
    return bool(
        request.structured_outputs
        or (shape is not None and shape.type != "text")
        or (isinstance(request, ChatRequest) and request.tools)
        or any(penalties)
        or request.repetition_penalty not in (None, 1)
        or (request.temperature or 0) > HOT
    )


def hidden_tokens_max(question: Question) -> int:
    """The most tokens that a stop string may have cut off the end of a choice."""
    request = question.request
    if not isinstance(request, ChatRequest | CompletionRequest) or not request.stop:
        return 0
    stops = [request.stop] if isinstance(request.stop, str) else request.stop
    return max(len(stop.encode()) for stop in stops)


def prompt_of(question: Question) -> PromptParts | None:
    """None if the prompt holds more than these texts."""
    request = question.request
    if request.truncate_prompt_tokens is not None:
        return None
    if isinstance(request, ChatRequest):
        return _chat_prompt(request)
    if not isinstance(request, CompletionRequest | EmbeddingRequest):
        return None
    prompt = request.prompt if isinstance(request, CompletionRequest) else request.input
    entries = [prompt] if isinstance(prompt, str) else prompt
    assert isinstance(entries, list)
    shape = f"{question.endpoint}:{question.prompts}"
    if isinstance(entries[0], int):
        return PromptParts(texts=[], token_ids=len(entries), template=False, shape=shape)
    return PromptParts(
        texts=[entry for entry in entries if isinstance(entry, str)],
        token_ids=sum(len(entry) for entry in entries if isinstance(entry, list)),
        template=False,
        shape=shape,
    )


def _chat_prompt(request: ChatRequest) -> PromptParts | None:
    steers = (
        request.tools,
        request.chat_template,
        request.chat_template_kwargs,
        request.documents,
        request.reasoning,
        request.reasoning_effort,
        request.add_special_tokens,
    )
    if any(steers) or request.continue_final_message or request.add_generation_prompt is False:
        return None
    texts: list[str] = []
    for message in request.messages:
        if not _is_plain(message):
            return None
        content = message.content
        if isinstance(content, str):
            texts.append(content)
        else:
            texts += [part.text or "" for part in content or ()]
    roles = "".join(message.role[0] for message in request.messages)
    return PromptParts(texts=texts, token_ids=0, template=True, shape=roles)


def _is_plain(message: Message) -> bool:
    if message.role == "tool" or message.tool_calls or message.name:
        return False
    content = message.content
    return not isinstance(content, list) or all(part.type == "text" for part in content)

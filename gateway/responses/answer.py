"""The object of a response, from its beginning to each of its ends. Pure.

queued  ->  in_progress  ->  completed | incomplete | failed | cancelled
"""

from __future__ import annotations

from typing import Any

import msgspec

from gateway.responses.chat import tools_shown
from gateway.responses.items import Json
from gateway.responses.schema import ResponsesRequest, Text

UNDER_WAY = ("queued", "in_progress")

_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}
"""Reasons to finish after which an answer is not whole."""

_ERROR_CODES = ("server_error", "rate_limit_exceeded", "invalid_prompt")


def begun(request: ResponsesRequest, response_id: str, *, created_s: int, stored: bool) -> Json:
    """With all that was asked for, said or not. Raises ApiError (400) for a tool."""
    reasoning = request.reasoning
    told: Json = {
        "id": response_id,
        "object": "response",
        "created_at": created_s,
        "status": "queued" if request.background else "in_progress",
        "background": request.background is True,
        "completed_at": None,
        "error": None,
        "incomplete_details": None,
        "instructions": request.instructions,
        "max_output_tokens": request.max_output_tokens,
        "max_tool_calls": request.max_tool_calls,
        "model": request.model,
        "output": [],
        "parallel_tool_calls": request.parallel_tool_calls is not False,
        "previous_response_id": request.previous_response_id,
        "prompt_cache_key": request.prompt_cache_key,
        "reasoning": {
            "effort": reasoning and reasoning.effort,
            "summary": reasoning and (reasoning.summary or reasoning.generate_summary),
        },
        "safety_identifier": request.safety_identifier,
        "service_tier": "default",
        "store": stored,
        "temperature": 1.0 if request.temperature is None else request.temperature,
        "text": _text(request.text or Text()),
        "tool_choice": "auto" if request.tool_choice is None else request.tool_choice,
        "tools": tools_shown(request),
        "top_logprobs": request.top_logprobs or 0,
        "top_p": 1.0 if request.top_p is None else request.top_p,
        "truncation": request.truncation or "disabled",
        "metadata": request.metadata or {},
    }
    if request.user is not None:
        told["user"] = request.user
    return told


def _text(text: Text) -> Json:
    format: Json = msgspec.to_builtins(text.format)
    told: Json = {"format": {name: value for name, value in format.items() if value is not None}}
    if text.verbosity is not None:
        told["verbosity"] = text.verbosity
    return told


def finished(
    response: Json, output: list[Json], reason: str | None, usage: Json | None, *, now_s: int
) -> Json:
    """Of an answer that came to its end, for this reason."""
    cut = _INCOMPLETE.get(reason or "stop")
    told = response | {"status": "incomplete" if cut else "completed", "output": output}
    if cut:
        told["incomplete_details"] = {"reason": cut}
    else:
        told["completed_at"] = now_s
    if usage is not None:
        told["usage"] = usage_of(usage)
    return told


def failed(
    response: Json, message: str, *, code: str | None = None, output: list[Json] | None = None
) -> Json:
    """`code` is the gateway's; what is none of OpenAI's for responses is their `server_error`."""
    shown = code if code in _ERROR_CODES else _ERROR_CODES[0]
    error = {"code": shown, "message": message}
    return response | {"status": "failed", "error": error, "output": output or response["output"]}


def cancelled(response: Json) -> Json:
    return response | {"status": "cancelled"}


def whole(item: Json, *, cut: bool) -> Json:
    """An output item that gets no more; `cut`: it should have."""
    return item | {"status": "incomplete" if cut else "completed"}


def usage_of(given: Json) -> Json:
    """A chat's usage."""
    prompt: Json = given.get("prompt_tokens_details") or {}
    completion: Json = given.get("completion_tokens_details") or {}
    input_tokens: int = given.get("prompt_tokens") or 0
    output_tokens: int = given.get("completion_tokens") or 0
    written = prompt.get("cache_write_tokens") or 0
    return {
        "input_tokens": input_tokens,
        "input_tokens_details": {
            "cached_tokens": prompt.get("cached_tokens") or 0,
            "cache_write_tokens": written,
        },
        "output_tokens": output_tokens,
        "output_tokens_details": {"reasoning_tokens": completion.get("reasoning_tokens") or 0},
        "total_tokens": input_tokens + output_tokens,
    }


def logprobs_of(choice: Json) -> list[Json]:
    """A chat's log probabilities, of which some servers leave parts out."""
    content: list[Any] = (choice.get("logprobs") or {}).get("content") or []
    return [
        _logprob(entry) | {"top_logprobs": [_logprob(top) for top in entry.get("top_logprobs", [])]}
        for entry in content
    ]


def _logprob(entry: Json) -> Json:
    return {
        "token": entry["token"],
        "logprob": entry["logprob"],
        "bytes": entry.get("bytes") or [],
    }

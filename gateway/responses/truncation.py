"""`truncation: auto`: the oldest items left out until the rest fits the context. Pure."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from gateway.openai.request import TEMPLATE_TOKENS
from gateway.responses.items import Json
from gateway.responses.schema import ResponsesRequest

ITEM_TOKENS = 8
"""What a chat template adds around a message."""
IMAGE_TOKENS = 1500
"""What a picture is taken for: how large it is only the model's server knows."""
ANSWER_SHARE = 4
"""A quarter of the context is left to an answer whose length nobody said."""

_LED = ("function_call_output", "reasoning")
"""What means nothing without the items before it."""


def fitting(
    items: list[Json],
    request: ResponsesRequest,
    context_tokens_max: int,
    count: Callable[[str], int],
) -> list[Json]:
    """The last items that fit, the newest always, after what the system or developer said first."""
    answer = request.max_output_tokens or context_tokens_max // ANSWER_SHARE
    room = context_tokens_max - TEMPLATE_TOKENS - answer
    if request.instructions:
        room -= count(request.instructions)
    if request.tools:
        room -= count(msgspec.json.encode(request.tools).decode())
    led = 0
    while led < len(items) and items[led].get("role") in ("system", "developer"):
        led += 1
    rest = items[led:]
    room -= sum(_tokens(item, count) for item in items[:led])
    sizes = [_tokens(item, count) for item in rest]
    total, first = sum(sizes), 0
    while first < len(rest) - 1 and (total > room or (first and rest[first]["type"] in _LED)):
        total -= sizes[first]
        first += 1
    return items[:led] + rest[first:]


def bytes_count(text: str) -> int:
    """For a model whose tokenizer is not there."""
    return -(-len(text.encode()) // 3)


def _tokens(item: Json, count: Callable[[str], int]) -> int:
    parts = item.get("content") or item.get("output") or []
    if isinstance(parts, str):
        parts = [{"type": "input_text", "text": parts}]
    tokens = ITEM_TOKENS + sum(_part_tokens(part, count) for part in parts)
    return tokens + count(item.get("name", "") + item.get("arguments", ""))


def _part_tokens(part: Json, count: Callable[[str], int]) -> int:
    return IMAGE_TOKENS if part["type"] == "input_image" else count(part.get("text", ""))

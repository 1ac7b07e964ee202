"""The request bodies of Anthropic's Messages API as far as a chat model can serve them.

Fields: https://docs.anthropic.com/en/api/messages. What is not listed is refused.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from gateway.openai.checks import STOP_MAX

_Count = Annotated[int, Meta(ge=1, le=2**31)]
_Word = Annotated[str, Meta(min_length=1)]


class TextBlock(Struct, tag="text"):
    text: str


class ImageSource(Struct):
    type: Literal["base64", "url"]
    media_type: str | None = None
    data: str | None = None
    url: str | None = None


class ImageBlock(Struct, tag="image"):
    source: ImageSource


class ToolUseBlock(Struct, tag="tool_use"):
    id: str
    name: str
    input: dict[str, Any]


class ToolResultBlock(Struct, tag="tool_result"):
    tool_use_id: str
    content: str | list[TextBlock | ImageBlock] = ""
    is_error: bool = False


class ThinkingBlock(Struct, tag="thinking"):
    thinking: str


class RedactedThinkingBlock(Struct, tag="redacted_thinking"):
    pass


Block = (
    TextBlock | ImageBlock | ToolUseBlock | ToolResultBlock | ThinkingBlock | RedactedThinkingBlock
)


class Turn(Struct):
    role: Literal["user", "assistant", "system"]
    content: str | list[Block]


class Tool(Struct):
    name: str
    input_schema: dict[str, Any] | None = None
    description: str | None = None
    type: str | None = None
    strict: bool | None = None


class ToolChoice(Struct):
    type: Literal["auto", "any", "tool", "none"]
    name: str | None = None
    disable_parallel_tool_use: bool = False


class Thinking(Struct):
    type: Literal["enabled", "disabled", "adaptive"]
    budget_tokens: _Count | None = None


class Metadata(Struct):
    user_id: str | None = None


class TokensRequest(Struct, kw_only=True, forbid_unknown_fields=True):
    """Of `count_tokens`, and what every request has."""

    model: str
    messages: Annotated[list[Turn], Meta(min_length=1)]
    system: str | list[TextBlock] | None = None
    tools: list[Tool] = []
    tool_choice: ToolChoice | None = None
    thinking: Thinking | None = None


class MessagesRequest(TokensRequest, kw_only=True, forbid_unknown_fields=True):
    max_tokens: _Count
    stream: bool = False
    temperature: Annotated[float, Meta(ge=0, le=1)] | None = None
    top_p: Annotated[float, Meta(gt=0, le=1)] | None = None
    top_k: _Count | None = None
    stop_sequences: Annotated[list[_Word], Meta(max_length=STOP_MAX)] = []
    metadata: Metadata | None = None
    service_tier: Literal["auto", "standard_only"] | None = None


messages_request = msgspec.json.Decoder(MessagesRequest)
tokens_request = msgspec.json.Decoder(TokensRequest)

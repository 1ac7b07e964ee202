"""The request bodies of OpenAI's API as far as a node can serve them. Shapes only.

Fields: OpenAI's API reference for chat completions, completions and embeddings, and the sampling
extras of vLLM's OpenAI-compatible server. What is not listed is refused.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

CHOICES_MAX = 16

Prompt = str | list[str | int | list[int]]
"""A text, several texts, one prompt as token ids, or several of those; `_prompts` refuses a mix."""


_Count = Annotated[int, Meta(ge=1, le=2**31)]
_CountFromZero = Annotated[int, Meta(ge=0, le=2**31)]
_Penalty = Annotated[float, Meta(ge=-2, le=2)]


class StreamOptions(Struct, forbid_unknown_fields=True):
    include_usage: bool | None = None
    continuous_usage_stats: bool | None = None
    include_obfuscation: bool | None = None


class ContentPart(Struct):
    type: str
    text: str | None = None


class Message(Struct):
    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[ContentPart] | None = None
    name: str | None = None
    tool_call_id: str | None = None
    tool_calls: list[dict[str, Any]] | None = None


class Function(Struct):
    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Tool(Struct):
    type: Literal["function"]
    function: Function


class ResponseFormat(Struct):
    type: Literal["text", "json_object", "json_schema", "structural_tag"]
    json_schema: dict[str, Any] | None = None


class UsageOptions(Struct, forbid_unknown_fields=True):
    """OpenRouter's."""

    include: bool | None = None


class _Common(Struct):
    model: str
    user: str | None = None
    usage: UsageOptions | None = None


class _Sampling(_Common):
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: _Count | None = None
    n: Annotated[int, Meta(ge=1, le=CHOICES_MAX)] | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(gt=0, le=1)] | None = None
    frequency_penalty: _Penalty | None = None
    presence_penalty: _Penalty | None = None
    seed: Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | None = None
    stop: str | list[str] | None = None
    logit_bias: dict[str, float] | None = None
    # vLLM's own sampling parameters
    top_k: Annotated[int, Meta(ge=-1, le=2**31)] | None = None
    min_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    repetition_penalty: float | None = None
    min_tokens: _CountFromZero | None = None
    ignore_eos: bool | None = None
    stop_token_ids: list[int] | None = None
    skip_special_tokens: bool | None = None
    include_stop_str_in_output: bool | None = None
    structured_outputs: dict[str, Any] | None = None


class ChatRequest(_Sampling, forbid_unknown_fields=True):
    messages: list[Message] = msgspec.field(default_factory=list)
    max_completion_tokens: _Count | None = None
    tools: list[Tool] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    response_format: ResponseFormat | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    reasoning_effort: str | None = None
    include_reasoning: bool | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    continue_final_message: bool | None = None
    add_generation_prompt: bool | None = None
    # accepted from OpenAI's clients; they steer OpenAI's own platform and change no answer here
    metadata: dict[str, str] | None = None
    modalities: list[Literal["text"]] | None = None
    prompt_cache_key: str | None = None
    safety_identifier: str | None = None
    service_tier: str | None = None
    store: bool | None = None
    verbosity: str | None = None


class CompletionRequest(_Sampling, forbid_unknown_fields=True):
    prompt: Prompt | UnsetType = UNSET
    echo: bool | None = None
    logprobs: int | None = None
    suffix: str | None = None
    response_format: ResponseFormat | None = None


class EmbeddingRequest(_Common, forbid_unknown_fields=True):
    input: Prompt | UnsetType = UNSET
    dimensions: _Count | None = None
    encoding_format: Literal["float", "base64"] | None = None


AnyRequest = ChatRequest | CompletionRequest | EmbeddingRequest

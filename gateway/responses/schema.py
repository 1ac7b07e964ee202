"""The request body of OpenAI's Responses API as far as a chat model can serve it. Shapes only.

Fields: https://platform.openai.com/docs/api-reference/responses/create. What is not listed is
refused; so are, by name, those listed here as never given.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

OUTPUT_TOKENS_MIN = 16
"""OpenAI's: fewer cannot be asked for."""

_Count = Annotated[int, Meta(ge=0, le=2**31)]
_Name = Annotated[str, Meta(max_length=64)]
Metadata = Annotated[dict[_Name, Annotated[str, Meta(max_length=512)]], Meta(max_length=16)]


class Reasoning(Struct):
    effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = None
    summary: Literal["auto", "concise", "detailed"] | None = None
    generate_summary: Literal["auto", "concise", "detailed"] | None = None


class PlainText(Struct, tag="text", frozen=True):
    pass


class JsonObject(Struct, tag="json_object"):
    pass


class JsonSchema(Struct, tag="json_schema"):
    name: Annotated[str, Meta(pattern="^[a-zA-Z0-9_-]{1,64}$")]
    schema: dict[str, Any]
    description: str | None = None
    strict: bool | None = None


class Text(Struct):
    format: PlainText | JsonObject | JsonSchema = PlainText()
    verbosity: Literal["low", "medium", "high"] | None = None


class StreamOptions(Struct):
    include_obfuscation: bool | None = None


Includable = Literal[
    "file_search_call.results",
    "web_search_call.results",
    "web_search_call.action.sources",
    "message.input_image.image_url",
    "computer_call_output.output.image_url",
    "code_interpreter_call.outputs",
    "reasoning.encrypted_content",
    "message.output_text.logprobs",
]

LOGPROBS: Includable = "message.output_text.logprobs"


class ResponsesRequest(Struct, kw_only=True, forbid_unknown_fields=True):
    """Tools, choices of them and input items are judged where they are told as a chat's."""

    model: str
    input: str | list[dict[str, Any]] | None = None
    instructions: str | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    text: Text | None = None
    reasoning: Reasoning | None = None
    max_output_tokens: Annotated[int, Meta(ge=OUTPUT_TOKENS_MIN, le=2**31)] | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(gt=0, le=1)] | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    include: list[Includable] | None = None
    previous_response_id: str | None = None
    store: bool | None = None
    background: bool | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    truncation: Literal["auto", "disabled"] | None = None
    metadata: Metadata | None = None
    user: str | None = None
    # accepted from OpenAI's clients; they steer OpenAI's own platform or tools and change nothing
    max_tool_calls: _Count | None = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: Literal["in_memory", "24h"] | None = None
    prompt_cache_options: dict[str, Any] | None = None
    safety_identifier: Annotated[str, Meta(max_length=64)] | None = None
    service_tier: str | None = None
    # never given: see `refuse_unserved`
    conversation: Any = None
    prompt: Any = None
    context_management: Any = None
    moderation: Any = None
    image: Any = None

    @property
    def kept(self) -> bool:
        """OpenAI's default: it is."""
        return self.store is not False

    @property
    def logprobs_wanted(self) -> bool:
        return bool(self.top_logprobs) or LOGPROBS in (self.include or ())


responses_request = msgspec.json.Decoder(ResponsesRequest)

"""The request bodies of OpenAI's API as far as a node can serve them. Shapes only.

Fields: OpenAI's API reference, what aggregators send beside it (OpenRouter's `usage`, `reasoning`
and `provider`), and vLLM 0.32's own. What is not listed is refused: vLLM would ignore it in
silence.
A field is `| None` where vLLM takes null for it.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from router.wants import Sort

CHOICES_MAX = 16
SESSION_CHARS_MAX = 256
SALT_CHARS_MAX = 128

Prompt = str | list[str | int | list[int]]
"""A text, several texts, one prompt as token ids, or several of those; `_prompts` refuses a mix."""


_Count = Annotated[int, Meta(ge=1, le=2**31)]
_CountFromZero = Annotated[int, Meta(ge=0, le=2**31)]
_CountOrAll = Annotated[int, Meta(ge=-1, le=2**31)]
_Penalty = Annotated[float, Meta(ge=-2, le=2)]
_Word = Annotated[str, Meta(min_length=1)]
_Session = Annotated[str, Meta(max_length=SESSION_CHARS_MAX)]
_Salt = Annotated[str, Meta(min_length=1, max_length=SALT_CHARS_MAX)]
_Name = Annotated[str, Meta(min_length=1, max_length=100)]
_Names = Annotated[list[_Name], Meta(min_length=1, max_length=64)]
Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]


class StreamOptions(Struct, forbid_unknown_fields=True):
    include_usage: bool | None = None
    continuous_usage_stats: bool | None = None
    include_obfuscation: bool | None = None


class ContentPart(Struct):
    type: str
    text: str | None = None


class CalledFunction(Struct):
    name: str
    arguments: str


class ToolCall(Struct):
    function: CalledFunction
    id: str | None = None
    type: Literal["function"] = "function"


class Message(Struct):
    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[ContentPart] | None = None
    name: str | None = None
    tool_call_id: str | None = None
    tool_calls: list[ToolCall] | None = None
    refusal: str | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None


class Function(Struct):
    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Tool(Struct):
    type: Literal["function"]
    function: Function


class ChosenFunction(Struct):
    name: _Word


class ToolChoice(Struct):
    type: Literal["function"]
    function: ChosenFunction


class JsonSchema(Struct, forbid_unknown_fields=True):
    name: Annotated[str, Meta(min_length=1, max_length=256)]
    description: str | None = None
    schema: dict[str, Any] | None = None
    strict: bool | None = None


class ResponseFormat(Struct):
    type: Literal["text", "json_object", "json_schema", "structural_tag"]
    json_schema: JsonSchema | None = None


class StructuredOutputs(Struct, forbid_unknown_fields=True):
    """One of the first six says what the answer must be."""

    json: str | dict[str, Any] | None = None
    regex: str | None = None
    choice: list[str] | None = None
    grammar: str | None = None
    json_object: bool | None = None
    structural_tag: str | None = None
    disable_any_whitespace: bool = False
    disable_additional_properties: bool = False
    whitespace_pattern: str | None = None


class RepetitionDetection(Struct, forbid_unknown_fields=True):
    max_pattern_size: _CountFromZero = 0
    min_pattern_size: _CountFromZero = 0
    min_count: _CountFromZero = 0


class Reasoning(Struct, forbid_unknown_fields=True):
    """OpenRouter's; `reasoning.py` tells it in vLLM's words."""

    effort: Effort | None = None
    max_tokens: _CountFromZero | None = None
    exclude: bool | None = None
    enabled: bool | None = None
    summary: Literal["auto", "concise", "detailed"] | None = None


class UsageOptions(Struct, forbid_unknown_fields=True):
    """OpenRouter's."""

    include: bool | None = None


class MaxPrice(Struct, forbid_unknown_fields=True):
    """USD per million tokens, `request` for each."""

    prompt: Decimal | None = None
    completion: Decimal | None = None
    request: Decimal | None = None


class Provider(Struct, forbid_unknown_fields=True):
    """What is asked of the node: OpenRouter's names, where the nodes' suppliers are the providers;
    `region` and `min_tier` are ours.
    """

    sort: Sort | None = None
    only: _Names | None = None
    ignore: _Names | None = None
    max_price: MaxPrice | None = None
    region: _Name | _Names | None = None
    min_tier: Annotated[int, Meta(ge=0, le=100)] | None = None
    allow_fallbacks: bool | None = None


class _Common(Struct):
    model: str
    user: str | UnsetType = UNSET
    usage: UsageOptions | None = None
    provider: Provider | None = None
    cache_salt: _Salt | None = None
    truncate_prompt_tokens: _CountOrAll | None = None
    truncation_side: Literal["left", "right"] | None = None


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
    stop: str | list[_Word] | None = None
    logit_bias: dict[str, Annotated[float, Meta(ge=-100, le=100)]] | None = None
    response_format: ResponseFormat | None = None
    session_id: _Session | None = None
    # vLLM's own
    use_beam_search: bool = False
    length_penalty: float = 1.0
    top_k: Annotated[int, Meta(ge=-1, le=2**31)] | None = None
    min_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    repetition_penalty: Annotated[float, Meta(gt=0)] | None = None
    min_tokens: _CountFromZero = 0
    ignore_eos: bool = False
    stop_token_ids: list[int] | None = None
    allowed_token_ids: list[int] | None = None
    bad_words: list[_Word] = []
    skip_special_tokens: bool = True
    spaces_between_special_tokens: bool = True
    add_special_tokens: bool | UnsetType = UNSET
    include_stop_str_in_output: bool = False
    structured_outputs: StructuredOutputs | None = None
    prompt_logprobs: _CountOrAll | None = None
    logprob_token_ids: list[int] | None = None
    return_tokens_as_token_ids: bool | None = None
    return_token_ids: bool | None = None
    thinking_token_budget: _CountOrAll | None = None
    repetition_detection: RepetitionDetection | None = None
    stream_interval: _Count | None = None
    watermarking: bool | None = None


class ChatRequest(_Sampling, forbid_unknown_fields=True):
    messages: list[Message] = msgspec.field(default_factory=list)
    max_completion_tokens: _Count | None = None
    tools: list[Tool] | None = None
    tool_choice: str | ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    reasoning: Reasoning | None = None
    reasoning_effort: Effort | None = None
    include_reasoning: bool = True
    echo: bool = False
    chat_template: str | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    continue_final_message: bool = False
    add_generation_prompt: bool = True
    documents: list[dict[str, str]] | None = None
    media_io_kwargs: dict[str, dict[str, Any]] | None = None
    mm_processor_kwargs: dict[str, Any] | None = None
    return_prompt_text: bool | None = None
    # accepted from OpenAI's clients; they steer OpenAI's own platform and change no answer here
    metadata: dict[str, str] | None = None
    modalities: list[Literal["text"]] | None = None
    prediction: dict[str, Any] | None = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: str | None = None
    safety_identifier: str | None = None
    service_tier: Literal["auto", "default", "flex", "scale", "priority"] | None = None
    store: bool | None = None
    verbosity: Literal["medium"] | None = None


class CompletionRequest(_Sampling, forbid_unknown_fields=True):
    prompt: Prompt | UnsetType = UNSET
    echo: bool | None = None
    logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    best_of: Literal[1] | None = None
    suffix: str | None = None


class EmbeddingRequest(_Common, forbid_unknown_fields=True):
    input: Prompt | UnsetType = UNSET
    dimensions: _Count | UnsetType = UNSET
    encoding_format: Literal["float", "base64"] | UnsetType = UNSET
    # vLLM's own
    add_special_tokens: bool = True
    use_activation: bool | None = None
    embed_dtype: Literal["float32", "float16", "bfloat16", "fp8_e4m3", "fp8_e5m2"] = "float32"
    endianness: Literal["native", "big", "little"] = "native"


Scored = str | dict[str, Any]
"""A text, or vLLM's form of one with images."""


class _Pairs(_Common):
    max_tokens_per_query: _CountFromZero = 0
    max_tokens_per_doc: _CountFromZero = 0
    instruction: str | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    use_activation: bool | None = None


class RerankRequest(_Pairs, forbid_unknown_fields=True):
    """As Jina and Cohere have it."""

    query: Scored | UnsetType = UNSET
    documents: Scored | list[Scored] | UnsetType = UNSET
    top_n: _CountFromZero = 0


class ScoreRequest(_Pairs, forbid_unknown_fields=True):
    """One of the two lists by any of vLLM's names for them."""

    queries: Scored | list[Scored] | UnsetType = UNSET
    documents: Scored | list[Scored] | UnsetType = UNSET
    items: Scored | list[Scored] | UnsetType = UNSET
    data_1: Scored | list[Scored] | UnsetType = UNSET
    data_2: Scored | list[Scored] | UnsetType = UNSET
    text_1: Scored | list[Scored] | UnsetType = UNSET
    text_2: Scored | list[Scored] | UnsetType = UNSET


Generating = ChatRequest | CompletionRequest
AnyRequest = Generating | EmbeddingRequest | RerankRequest | ScoreRequest

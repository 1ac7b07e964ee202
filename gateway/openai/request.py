"""What a client asked for: the JSON body judged, read and made ready for a node.

`read` refuses with an ApiError whatever a node would refuse or silently ignore, so that bad input
never reaches a node; `for_node` writes the body that goes upstream. Pure.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Any, TypeVar

import msgspec
from msgspec import UnsetType

from gateway import errors
from gateway.errors import ApiError
from gateway.openai.schema import (
    AnyRequest,
    ChatRequest,
    CompletionRequest,
    EmbeddingRequest,
    Message,
    Prompt,
)

T = TypeVar("T")

TEMPLATE_TOKENS = 512
"""Room for what a chat template adds around the messages (default system prompt, tool preamble)."""

NESTING_SAFE = 500
"""So many brackets cannot be nested too deeply for a decoder, however they are nested."""

SPARE_FRAMES = 50
"""Further down the stack than now a node's body may be written."""

STOP_MAX = 16
INPUTS_MAX = 2048


class Endpoint(StrEnum):
    """An inference route; the value is what metrics call it and what a model's `kinds` lists."""

    CHAT = "chat"
    COMPLETIONS = "completions"
    EMBEDDINGS = "embeddings"

    @property
    def path(self) -> str:
        return _PATHS[self]

    @property
    def prompt_param(self) -> str:
        return _PROMPT_PARAMS[self]


_PATHS = {
    Endpoint.CHAT: "/v1/chat/completions",
    Endpoint.COMPLETIONS: "/v1/completions",
    Endpoint.EMBEDDINGS: "/v1/embeddings",
}
_PROMPT_PARAMS = {
    Endpoint.CHAT: "messages",
    Endpoint.COMPLETIONS: "prompt",
    Endpoint.EMBEDDINGS: "input",
}
ENDPOINT_OF_PATH = {path: endpoint for endpoint, path in _PATHS.items()}


_DECODERS: dict[Endpoint, msgspec.json.Decoder[Any]] = {
    Endpoint.CHAT: msgspec.json.Decoder(ChatRequest),
    Endpoint.COMPLETIONS: msgspec.json.Decoder(CompletionRequest),
    Endpoint.EMBEDDINGS: msgspec.json.Decoder(EmbeddingRequest),
}
_raw_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])
_encoder = msgspec.json.Encoder()


class Question:
    """One inference request, judged good: what admission and metering need to know of it."""

    __slots__ = (
        "body_bytes",
        "choices",
        "choices_per_prompt",
        "completion_tokens_max",
        "cost_wanted",
        "endpoint",
        "has_media",
        "model",
        "prompts",
        "request",
        "running_usage_wanted",
        "stream",
        "usage_always",
        "usage_wanted",
    )

    def __init__(
        self, endpoint: Endpoint, request: AnyRequest, body_bytes: int, prompts: int
    ) -> None:
        self.endpoint = endpoint
        self.request = request
        self.model = request.model
        self.body_bytes = body_bytes
        self.prompts = prompts
        self.choices_per_prompt = 1
        self.completion_tokens_max: int | None = None
        """Per choice, as the client set it; None leaves it to the context window."""
        self.stream = self.has_media = self.usage_wanted = self.running_usage_wanted = False
        self.usage_always = False
        """The caller's key says so."""
        self.cost_wanted = request.usage is not None and request.usage.include is True
        if not isinstance(request, EmbeddingRequest):
            self._take_sampling(request)
        self.choices = prompts * self.choices_per_prompt
        """Answers asked for, over all prompts: completion tokens come this many-fold."""

    def _take_sampling(self, request: ChatRequest | CompletionRequest) -> None:
        self.stream = request.stream is True
        self.choices_per_prompt = request.n or 1
        self.completion_tokens_max = request.max_tokens
        if isinstance(request, ChatRequest):
            if request.max_completion_tokens is not None:
                self.completion_tokens_max = request.max_completion_tokens
            self.has_media = _has_media(request.messages)
        options = request.stream_options
        if options is not None and options.include_usage:
            self.usage_wanted = True
            self.running_usage_wanted = options.continuous_usage_stats is True

    @property
    def tells_usage(self) -> bool:
        """At the end of the answer the gateway itself tells its usage."""
        return self.cost_wanted or self.usage_always

    def prompt_bound(self, context_tokens_max: int) -> int:
        """The most tokens that all prompts together can be, without counting any: no token is
        shorter than a byte, and no prompt longer than the context.
        """
        whole = context_tokens_max * self.prompts
        return whole if self.has_media else min(whole, self.body_bytes + TEMPLATE_TOKENS)

    def completion_bound(self, context_tokens_max: int) -> int:
        """The most tokens that all choices together can be."""
        if self.endpoint is Endpoint.EMBEDDINGS:
            return 0
        each = self.completion_tokens_max
        if each is None or each > context_tokens_max:
            each = context_tokens_max
        return self.choices * each

    def prompt_texts(self) -> list[str]:
        """The texts that are certainly in the prompt, for an exact lower bound of its tokens."""
        request = self.request
        if isinstance(request, ChatRequest):
            return [text for message in request.messages for text in _texts(message)]
        prompt = request.prompt if isinstance(request, CompletionRequest) else request.input
        if isinstance(prompt, str):
            return [prompt]
        if isinstance(prompt, list) and len(prompt) == 1 and isinstance(prompt[0], str):
            return [prompt[0]]
        return []


def read(endpoint: Endpoint, body: bytes) -> Question:
    """Judge a request body. Raises ApiError (400, 404) naming the field at fault."""
    request: AnyRequest = read_as(_DECODERS[endpoint], body)
    if isinstance(request, EmbeddingRequest):
        prompts = _prompts(request.input, "input")
    else:
        _check_sampling(request)
        if isinstance(request, ChatRequest):
            _check_chat(request)
            prompts = 1
        else:
            prompts = _prompts(request.prompt, "prompt")
    return Question(endpoint, request, len(body), prompts)


def read_as(decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    """A request body in the shape it must have. Raises ApiError (400) naming the field at fault."""
    try:
        request = decoder.decode(body)
        if not body.isascii():
            body.decode()  # msgspec does not look at the keys that it skips
        if len(body) > NESTING_SAFE and body.count(b"[") + body.count(b"{") > NESTING_SAFE:
            _read_from_below(body, SPARE_FRAMES)
    except msgspec.ValidationError as error:
        raise _explain(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise errors.invalid_json(str(error).rstrip(".")) from None
    return request


def _read_from_below(body: bytes, frames: int) -> None:
    """Nesting counts against the same limit as calls: what can just be read here could be too deep
    for `for_node`, when credit is reserved and a node counted. Raises RecursionError.
    """
    if frames:
        _read_from_below(body, frames - 1)
    else:
        _raw_fields.decode(body)


def for_node(question: Question, body: bytes, *, served_model: str, is_vllm: bool) -> bytes:
    """The body for the node, which is asked to report usage: a vLLM on every event of a stream, so
    that one cut short is billed to the token.

    A vLLM gets the client's bytes, with our options appended: of a key that comes twice it takes
    the last, as we did. Another server might take the first, so it gets every key once. `usage` is
    for us alone.
    """
    if is_vllm and served_model == question.model and question.request.usage is None:
        return body.rstrip()[:-1] + _VLLM_STREAM_TAIL if question.stream else body
    fields = _raw_fields.decode(body)
    fields.pop("usage", None)
    fields["model"] = msgspec.Raw(_encoder.encode(served_model))
    if question.stream:
        fields["stream_options"] = _RUNNING_USAGE if is_vllm else _CLOSING_USAGE
    return _encoder.encode(fields)


_RUNNING_USAGE = msgspec.Raw(b'{"include_usage":true,"continuous_usage_stats":true}')
_CLOSING_USAGE = msgspec.Raw(b'{"include_usage":true}')
_VLLM_STREAM_TAIL = b',"stream_options":%b}' % bytes(_RUNNING_USAGE)


def _has_media(messages: list[Message]) -> bool:
    for message in messages:
        content = message.content
        if isinstance(content, list) and any(part.type != "text" for part in content):
            return True
    return False


def _check_sampling(request: ChatRequest | CompletionRequest) -> None:
    if isinstance(request.stop, list) and len(request.stop) > STOP_MAX:
        raise errors.bad_request(
            f"Invalid 'stop': {len(request.stop)} sequences, at most {STOP_MAX}.", param="stop"
        )
    if request.stream_options is not None and not request.stream:
        raise errors.bad_request(
            "The 'stream_options' parameter is only allowed when 'stream' is enabled.",
            param="stream_options",
        )


def _check_chat(request: ChatRequest) -> None:
    if not request.messages:
        raise errors.bad_request(
            "Missing or empty required parameter: 'messages'.",
            param="messages",
            code="missing_required_parameter",
        )
    for index, message in enumerate(request.messages):
        if message.role in {"system", "developer", "user", "tool"} and message.content is None:
            where = f"messages[{index}].content"
            raise errors.bad_request(f"Missing required parameter: '{where}'.", param=where)
        if message.role == "tool" and message.tool_call_id is None:
            where = f"messages[{index}].tool_call_id"
            raise errors.bad_request(f"Missing required parameter: '{where}'.", param=where)
    if request.top_logprobs is not None and not request.logprobs:
        raise errors.bad_request(
            "'top_logprobs' needs 'logprobs' to be true.", param="top_logprobs"
        )
    if isinstance(request.tool_choice, str) and request.tool_choice not in _TOOL_CHOICES:
        raise errors.bad_request(
            f"Invalid 'tool_choice': '{request.tool_choice}' is none of {sorted(_TOOL_CHOICES)}.",
            param="tool_choice",
        )
    if request.tool_choice not in (None, "none") and not request.tools:
        raise errors.bad_request(
            "'tool_choice' is only allowed when 'tools' are specified.", param="tool_choice"
        )


_TOOL_CHOICES = frozenset({"none", "auto", "required"})


def _prompts(prompt: Prompt | UnsetType, param: str) -> int:
    """How many prompts the field holds. Raises ApiError if it holds none, or too many."""
    if isinstance(prompt, UnsetType):
        raise errors.bad_request(
            f"Missing required parameter: '{param}'.",
            param=param,
            code="missing_required_parameter",
        )
    if not prompt or (not isinstance(prompt, str) and ("" in prompt or [] in prompt)):
        raise errors.bad_request(f"Invalid '{param}': it is empty.", param=param)
    if isinstance(prompt, str):
        return 1
    if len({type(entry) for entry in prompt}) > 1:
        raise errors.bad_request(f"Invalid '{param}': it mixes texts and token ids.", param=param)
    if isinstance(prompt[0], int):
        return 1
    if len(prompt) > INPUTS_MAX:
        raise errors.bad_request(
            f"Invalid '{param}': {len(prompt)} entries, at most {INPUTS_MAX}.", param=param
        )
    return len(prompt)


def _texts(message: Message) -> list[str]:
    if isinstance(message.content, str):
        return [message.content]
    return [part.text for part in message.content or [] if part.text is not None]


_AT = re.compile(r"^(?P<what>.*?)(?: - at `\$(?P<where>[^`]*)`)?$", re.DOTALL)
_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`")
_RANGE = re.compile(r"Expected `(int|float)` ([<>]=? .*)")
_MISSING = re.compile(r"Object missing required field `(.*)`")


def _explain(message: str) -> ApiError:
    """msgspec's validation message in OpenAI's words, with `param` in OpenAI's notation."""
    match = _AT.match(message)
    what, where = (match["what"], match["where"] or "") if match else (message, "")
    where = where.removeprefix(".").replace("[...]", "[]")
    prefix = f"{where}." if where else ""
    if unknown := _UNKNOWN.match(what):
        param = prefix + unknown[1]
        return errors.bad_request(
            f"Unrecognized request argument supplied: {param}.",
            param=param,
            code="unknown_parameter",
        )
    if missing := _MISSING.match(what):
        param = prefix + missing[1]
        return errors.bad_request(
            f"Missing required parameter: '{param}'.",
            param=param,
            code="missing_required_parameter",
        )
    if not where:
        return errors.bad_request(f"The request body must be a JSON object: {what}.")
    if range_ := _RANGE.match(what):
        kind = "integer" if range_[1] == "int" else "decimal"
        return errors.bad_request(
            f"Invalid '{where}': {kind} out of range, it must be {range_[2]}.",
            param=where,
            code=f"{kind}_out_of_range",
        )
    wrong = what[:1].lower() + what[1:]
    return errors.bad_request(
        f"Invalid type for '{where}': {wrong}.", param=where, code="invalid_type"
    )

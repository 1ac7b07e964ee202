"""What a client asked for: the JSON body judged and read.

`read` refuses with an ApiError whatever a node would refuse or silently ignore, so that bad input
never reaches a node; `node_body.py` writes the body that goes upstream. Pure.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, TypeVar

import msgspec

from gateway import errors
from gateway.errors import ApiError
from gateway.openai import checks
from gateway.openai.explain import UNKNOWN, explain
from gateway.openai.schema import (
    AnyRequest,
    ChatRequest,
    CompletionRequest,
    EmbeddingRequest,
    Generating,
    Message,
    RerankRequest,
    ScoreRequest,
)
from router.types import RequestFeatures

T = TypeVar("T")

TEMPLATE_TOKENS = 512
"""Room for what a chat template adds around the messages (default system prompt, tool preamble)."""

PAIR_TOKENS = 256
"""Room for what a template adds to the two texts of a pair."""

NESTING_SAFE = 500
"""So many brackets cannot be nested too deeply for a decoder, however they are nested."""

SPARE_FRAMES = 50
"""Further down the stack than now a node's body may be written."""


class Endpoint(StrEnum):
    """An inference route; the value is what metrics call it and what a model's `kinds` lists."""

    paths: list[str]
    path: str
    """At a node."""
    prompt_param: str
    generates: bool
    """Its answers are tokens; the others' prompts are all that is charged."""

    def __new__(cls, name: str, *told: str) -> Endpoint:
        """`told` are the field of its prompt and its paths."""
        self = str.__new__(cls, name)
        self._value_ = name
        self.prompt_param, *self.paths = told
        self.path = self.paths[0]
        self.generates = name in ("chat", "completions")
        return self

    CHAT = "chat", "messages", "/v1/chat/completions"
    COMPLETIONS = "completions", "prompt", "/v1/completions"
    EMBEDDINGS = "embeddings", "input", "/v1/embeddings"
    RERANK = "rerank", "documents", "/v1/rerank", "/rerank", "/v2/rerank"
    SCORE = "score", "documents", "/score", "/v1/score"


ENDPOINT_OF_PATH = {path: endpoint for endpoint in Endpoint for path in endpoint.paths}


class _LenientChat(ChatRequest, forbid_unknown_fields=False):
    pass


class _LenientCompletion(CompletionRequest, forbid_unknown_fields=False):
    pass


class _LenientEmbedding(EmbeddingRequest, forbid_unknown_fields=False):
    pass


class _LenientRerank(RerankRequest, forbid_unknown_fields=False):
    pass


class _LenientScore(ScoreRequest, forbid_unknown_fields=False):
    pass


_DECODERS: dict[Endpoint, msgspec.json.Decoder[Any]] = {
    Endpoint.CHAT: msgspec.json.Decoder(ChatRequest),
    Endpoint.COMPLETIONS: msgspec.json.Decoder(CompletionRequest),
    Endpoint.EMBEDDINGS: msgspec.json.Decoder(EmbeddingRequest),
    Endpoint.RERANK: msgspec.json.Decoder(RerankRequest),
    Endpoint.SCORE: msgspec.json.Decoder(ScoreRequest),
}
_LENIENT: dict[Endpoint, msgspec.json.Decoder[Any]] = {
    Endpoint.CHAT: msgspec.json.Decoder(_LenientChat),
    Endpoint.COMPLETIONS: msgspec.json.Decoder(_LenientCompletion),
    Endpoint.EMBEDDINGS: msgspec.json.Decoder(_LenientEmbedding),
    Endpoint.RERANK: msgspec.json.Decoder(_LenientRerank),
    Endpoint.SCORE: msgspec.json.Decoder(_LenientScore),
}
_raw_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])
_GENERATING_REQUESTS = (ChatRequest, CompletionRequest)


class Question:
    """One inference request, judged good: what admission and metering need to know of it."""

    __slots__ = (
        "_prompt_bytes",
        "account",
        "as_sent",
        "batch",
        "body_bytes",
        "choices",
        "choices_per_prompt",
        "completion_tokens_max",
        "cost_wanted",
        "endpoint",
        "fills_context",
        "has_unknown",
        "model",
        "offers_tools",
        "prompts",
        "reasoning_alias",
        "request",
        "running_usage_wanted",
        "stream",
        "tells_usage",
        "usage_always",
        "usage_wanted",
    )

    def __init__(
        self,
        endpoint: Endpoint,
        request: AnyRequest,
        body_bytes: int,
        prompts: int,
        *,
        has_unknown: bool = False,
    ) -> None:
        self.endpoint = endpoint
        self.request = request
        self.model = request.model
        self.account = ""
        """Who asks; told by admission, as are `reasoning_alias` and `batch`."""
        self.batch = False
        self.reasoning_alias = False
        """Reasoning is told under its older name too."""
        self.prompts = prompts
        self.has_unknown = has_unknown
        """There are parameters that no node is to see."""
        self.choices_per_prompt = 1
        self.completion_tokens_max: int | None = None
        """Per choice, as the client set it; None leaves it to the context window."""
        self.offers_tools = False
        """Its answer may hold tool calls."""
        self.stream = self.usage_wanted = self.running_usage_wanted = False
        self.fills_context = False
        """No bound of the prompt's tokens but the context can be told from the body."""
        self.usage_always = False
        """The caller's key says so."""
        self.cost_wanted = request.usage is not None and request.usage.include is True
        self.tells_usage = self.cost_wanted
        """At the end of the answer the gateway itself tells its usage."""
        self.as_sent = (
            request.usage is None
            and request.cache_salt is None
            and not has_unknown
            and request.provider is None
        )
        """A vLLM can be given the client's bytes."""
        self.body_bytes = body_bytes
        self._prompt_bytes = body_bytes + TEMPLATE_TOKENS
        if isinstance(request, _GENERATING_REQUESTS):
            self._take_sampling(request)
        elif not isinstance(request, EmbeddingRequest):
            self._take_pairs(request)
        self.choices = prompts * self.choices_per_prompt
        """Answers asked for, over all prompts: completion tokens come this many-fold."""

    def _take_sampling(self, request: Generating) -> None:
        self.stream = request.stream is True
        self.choices_per_prompt = request.n or 1
        self.completion_tokens_max = request.max_tokens
        if isinstance(request, ChatRequest):
            if request.max_completion_tokens is not None:
                self.completion_tokens_max = request.max_completion_tokens
            self.offers_tools = bool(request.tools) and request.tool_choice != "none"
            if request.reasoning is not None:
                self.as_sent = False
            self.fills_context = request.chat_template is not None or _has_media(request.messages)
        options = request.stream_options
        if options is not None and options.include_usage:
            self.usage_wanted = True
            self.running_usage_wanted = options.continuous_usage_stats is True

    def _take_pairs(self, request: RerankRequest | ScoreRequest) -> None:
        left, right = checks.pairs_of(request)
        self.fills_context = not all(type(entry) is str for entry in (*left, *right))
        repeated = request.instruction or ""
        if len(left) == 1 and isinstance(left[0], str):
            repeated += left[0]
        self._prompt_bytes += self.prompts * (PAIR_TOKENS + len(repeated.encode()))

    def features(
        self, context_tokens_max: int, sticky_key: int | None = None, request_id: str = ""
    ) -> RequestFeatures:
        """What the router may know of it. Of tokens that is the most that there can be, without
        counting any: none is shorter than a byte, and no prompt longer than the context.
        """
        prompt_tokens, whole = self._prompt_bytes, context_tokens_max * self.prompts
        if self.fills_context or prompt_tokens > whole:
            prompt_tokens = whole
        each = self.completion_tokens_max if self.endpoint.generates else 0
        if each is None or each > context_tokens_max:
            each = context_tokens_max
        return RequestFeatures(
            model=self.model,
            prompt_tokens=prompt_tokens,
            completion_tokens_max=self.choices * each,
            stream=self.stream,
            sticky_key=sticky_key,
            request_id=request_id,
        )

    @property
    def completion_param(self) -> str:
        """The field that `completion_tokens_max` came from."""
        newer = getattr(self.request, "max_completion_tokens", None)
        return "max_tokens" if newer is None else "max_completion_tokens"

    def prompt_texts(self) -> list[str]:
        """The texts that are certainly in the prompt, for an exact lower bound of its tokens."""
        request = self.request
        if request.truncate_prompt_tokens is not None:
            return []
        if isinstance(request, ChatRequest):
            if request.chat_template is not None:
                return []
            return [text for message in request.messages for text in _texts(message)]
        if isinstance(request, RerankRequest | ScoreRequest):
            return []
        prompt = request.prompt if isinstance(request, CompletionRequest) else request.input
        if isinstance(prompt, str):
            return [prompt]
        if isinstance(prompt, list) and len(prompt) == 1 and isinstance(prompt[0], str):
            return [prompt[0]]
        return []


def read(endpoint: Endpoint, body: bytes, *, lenient: bool = False) -> Question:
    """Judge a request body. Raises ApiError (400, 404) naming the field at fault.

    `lenient`: parameters that nobody here knows are left out instead.
    """
    has_unknown = False
    try:
        request: AnyRequest = read_as(_DECODERS[endpoint], body)
    except ApiError as error:
        if not lenient or error.code != UNKNOWN:
            raise
        has_unknown = True
        request = read_as(_LENIENT[endpoint], body)
    if request.provider is not None:
        checks.check_provider(request.provider)
    return Question(endpoint, request, len(body), _count_prompts(request), has_unknown=has_unknown)


def _count_prompts(request: AnyRequest) -> int:
    """How many prompts there are, once all that is said beside them is good."""
    if isinstance(request, ChatRequest):
        checks.check_sampling(request)
        checks.check_chat(request)
        return 1
    if isinstance(request, CompletionRequest):
        checks.check_sampling(request)
        return checks.prompts_of(request.prompt, "prompt")
    if isinstance(request, EmbeddingRequest):
        return checks.prompts_of(request.input, "input")
    return len(checks.pairs_of(request)[1])


def read_as(decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    """A request body in the shape it must have. Raises ApiError (400) naming the field at fault."""
    try:
        request = decoder.decode(body)
        if not body.isascii():
            body.decode()  # msgspec does not look at the keys that it skips
        if len(body) > NESTING_SAFE and body.count(b"[") + body.count(b"{") > NESTING_SAFE:
            _read_from_below(body, SPARE_FRAMES)
    except msgspec.ValidationError as error:
        raise explain(str(error), decoder.type) from None
    except RecursionError:
        raise errors.invalid_json("it is nested too deeply") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
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


def _has_media(messages: list[Message]) -> bool:
    for message in messages:
        content = message.content
        if isinstance(content, list) and any(part.type != "text" for part in content):
            return True
    return False


def _texts(message: Message) -> list[str]:
    if isinstance(message.content, str):
        return [message.content]
    return [part.text for part in message.content or [] if part.text is not None]

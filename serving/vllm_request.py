"""Read a request as vLLM 0.32 does: what it accepts, and what it answers where it does not."""

import json
from typing import Any

import msgspec

from serving import vllm_wire
from serving.fake_tools import ToolCall, call_for
from serving.simulated_engine import tokenize, tokenize_chat
from serving.vllm_wire import Json

COMPLETION_TOKENS_DEFAULT = 16

_FIELDS: dict[str, tuple[type, str, str]] = {
    "max_tokens": (int, "int", "a valid integer, unable to parse string as an integer"),
    "max_completion_tokens": (int, "int", "a valid integer, unable to parse string as an integer"),
    "n": (int, "int", "a valid integer, unable to parse string as an integer"),
    "stream": (bool, "bool", "a valid boolean, unable to interpret input"),
}


class RefusedError(Exception):
    """vLLM would not take the request. `body` is its answer."""

    def __init__(self, status: int, body: Json) -> None:
        super().__init__(body)
        self.status = status
        self.body = body


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """An accepted request for generation."""

    chat: bool
    prompts: list[list[int]]
    tokens_max: list[int]
    """Per choice, for each prompt."""
    n: int
    seed: int
    stop: list[str]
    ignore_eos: bool
    stream: bool
    include_usage: bool
    continuous_usage: bool
    return_token_ids: bool
    logprobs: bool
    """Of a chat's tokens."""
    call: ToolCall | None
    """What a chat is answered with."""


def read_json(body: bytes) -> Json:
    """Decode a request body. Raises `RefusedError`."""
    try:
        request = json.loads(body)
    except json.JSONDecodeError as wrong:
        raise _invalid(
            "json_invalid", f"body.{wrong.pos}", "JSON decode error", {}, {"error": wrong.msg}
        ) from wrong
    if not isinstance(request, dict):
        msg = "Input should be a valid dictionary or object to extract fields from"
        raise _invalid("model_attributes_type", "body", msg, request)
    return request


def read_job(request: Json, *, chat: bool, model: str, context_tokens_max: int) -> Job:
    """Return what is asked for. Raises `RefusedError`."""
    _check_types(request, chat)
    options = request.get("stream_options") or {}
    if options and not request.get("stream"):
        raise _bad("Stream options can only be defined when `stream=True`.", "stream_options")
    prompts = _chat_prompt(request) if chat else _completion_prompts(request)
    check_model(request, model)
    n = _check_sampling(request)
    asked = request.get("max_completion_tokens") or request.get("max_tokens")
    _check_tokens_max(request.get("max_tokens"), context_tokens_max)
    default = context_tokens_max if chat else COMPLETION_TOKENS_DEFAULT
    for prompt in prompts:
        _check_context(prompt, context_tokens_max)
    stop = request.get("stop") or []
    return Job(
        chat=chat,
        prompts=prompts,
        tokens_max=[min(asked or default, context_tokens_max - len(prompt)) for prompt in prompts],
        n=n,
        seed=request.get("seed") or 0,
        stop=[stop] if isinstance(stop, str) else stop,
        ignore_eos=bool(request.get("ignore_eos")),
        stream=bool(request.get("stream")),
        include_usage=bool(options.get("include_usage")),
        continuous_usage=bool(
            options.get("include_usage") and options.get("continuous_usage_stats")
        ),
        return_token_ids=bool(request.get("return_token_ids")),
        logprobs=chat and bool(request.get("logprobs")),
        call=call_for(request) if chat else None,
    )


def read_texts(request: Json, model: str) -> list[str]:
    """Return the texts of an embeddings request. Raises `RefusedError`."""
    check_model(request, model)
    if "input" not in request:
        raise _invalid("missing", "body.input", "Field required", request)
    texts = request["input"]
    return [texts] if isinstance(texts, str) else [str(text) for text in texts]


def read_pairs(request: Json, *, rerank: bool) -> list[tuple[str, str]]:
    """Return the texts that are compared. Raises `RefusedError`."""
    names = [("query", "documents")] if rerank else _PAIRS
    first, second = next((pair for pair in names if pair[0] in request), names[0])
    for name in (first, second):
        if name not in request:
            raise _invalid("missing", f"body.{name}", "Field required", request)
    left, right = (_listed(request[name]) for name in (first, second))
    if len(left) == 1:
        left *= len(right)
    return list(zip(left, right, strict=True))


_PAIRS = [("queries", "documents"), ("data_1", "data_2"), ("text_1", "text_2")]


def _listed(value: Any) -> list[str]:
    return [str(each) for each in value] if isinstance(value, list) else [str(value)]


def read_tokens(request: Json, model: str) -> list[int]:
    """Return the prompt of a request to `/tokenize`. Raises `RefusedError`."""
    check_model(request, model)
    if "messages" in request:
        return _chat_prompt(request)[0]
    if not isinstance(request.get("prompt"), str):
        raise _invalid("missing", "body.prompt", "Field required", request)
    return tokenize(request["prompt"])


def check_model(request: Json, model: str) -> None:
    """Refuse another model than the one that is served; none at all is accepted."""
    asked = request.get("model") or model
    if asked != model:
        message = f"The model `{asked}` does not exist. Valid aliases: {model}."
        raise RefusedError(404, vllm_wire.error(404, message, "model"))


def _check_types(request: Json, chat: bool) -> None:
    if chat and "messages" not in request:
        raise _invalid("missing", "body.messages", "Field required", request)
    if chat and not isinstance(request["messages"], list):
        msg = "Input should be a valid list"
        raise _invalid("list_type", "body.messages", msg, request["messages"])
    for field, (kind, name, msg) in _FIELDS.items():
        value = request.get(field)
        if value is not None and not isinstance(value, kind):
            raise _invalid(f"{name}_parsing", f"body.{field}", f"Input should be {msg}", value)


def _chat_prompt(request: Json) -> list[list[int]]:
    if not request["messages"]:
        raise _bad(
            "Cannot apply chat template to an empty conversation. Provide at least one message."
        )
    return [tokenize_chat([(m.get("role", ""), _text(m)) for m in request["messages"]])]


def _text(message: Json) -> str:
    content = message.get("content") or ""
    if isinstance(content, str):
        return content
    return "\n".join(part.get("text", "") for part in content)


def _completion_prompts(request: Json) -> list[list[int]]:
    """A prompt is a text, a list of texts, token ids, or a list of lists of them."""
    prompt = request.get("prompt")
    if not prompt:
        raise _bad("Either prompt or prompt_embeds must be provided and non-empty.", "prompt")
    if isinstance(prompt, str) or isinstance(prompt[0], int):
        prompt = [prompt]
    return [tokenize(each) if isinstance(each, str) else each for each in prompt]


def _check_sampling(request: Json) -> int:
    """Return the number of choices."""
    n = 1 if request.get("n") is None else int(request["n"])
    if n < 1:
        raise _bad(f"n must be at least 1, got {n}.")
    temperature = float(request.get("temperature") or 0)
    if temperature < 0:
        message = f"temperature must be non-negative, got {temperature}."
        raise _bad(message, "temperature", temperature)
    if temperature > 2:
        message = f"temperature must be in [0, 2], got {temperature}."
        raise _bad(message, "temperature", temperature)
    top_p = 1.0 if request.get("top_p") is None else float(request["top_p"])
    if not 0 < top_p <= 1:
        raise _bad(f"top_p must be in (0, 1], got {top_p}.", "top_p", top_p)
    return n


def _check_tokens_max(tokens_max: int | None, context_tokens_max: int) -> None:
    if tokens_max is None:
        return
    if tokens_max < 1:
        message = f"max_tokens must be at least 1, got {tokens_max}."
        raise _bad(message, "max_tokens", tokens_max)
    if tokens_max > context_tokens_max:
        raise _bad(
            f"max_tokens={tokens_max} cannot be greater than max_model_len={context_tokens_max}. "
            "Please request fewer output tokens.",
            "max_tokens",
            tokens_max,
        )


def _check_context(prompt: list[int], context_tokens_max: int) -> None:
    """Refuse a prompt that leaves no room; a large `max_tokens` is only cut to what is left."""
    if len(prompt) < context_tokens_max:
        return
    least = context_tokens_max + 1
    raise _bad(
        f"This model's maximum context length is {context_tokens_max} tokens. However, your prompt "
        f"contains at least {least} input tokens, which exceeds this limit even without any output "
        "tokens. Please reduce the length of the input prompt.",
        "input_tokens",
        least,
    )


def _bad(message: str, param: str | None = None, value: object = None) -> RefusedError:
    if param:
        shown = "" if value is None else f", value={value}"
        message += f" (parameter={param}{shown})"
    return RefusedError(400, vllm_wire.error(400, message, param))


def _invalid(
    kind: str, where: str, msg: str, value: Any, context: Json | None = None
) -> RefusedError:
    """Return the answer to a body of the wrong shape: pydantic's words, `type` "Bad Request"."""
    if isinstance(value, dict | list):
        value = f"<{type(value).__name__} of {len(value)} items>"
    detail = {"type": kind, "loc": where, "msg": msg, "input": value}
    if context:
        detail["ctx"] = context
    message = f"1 validation error:\n  {detail}"
    return RefusedError(400, vllm_wire.error(400, message, where, "Bad Request"))

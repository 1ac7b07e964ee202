"""What no single field of a request body can tell: how fields go together. Pure.

Each raises ApiError (400) naming the field at fault.
"""

from __future__ import annotations

from decimal import Decimal

from msgspec import UnsetType

from gateway import errors
from gateway.openai.explain import missing_parameter
from gateway.openai.reasoning import check_reasoning
from gateway.openai.schema import (
    ChatRequest,
    Generating,
    Message,
    Prompt,
    Provider,
    RerankRequest,
    Scored,
    ScoreRequest,
    StructuredOutputs,
)

STOP_MAX = 4
INPUTS_MAX = 2048
USD_MAX = 1_000_000
"""Of a `max_price`."""

_TOOL_CHOICES = frozenset({"none", "auto", "required"})
_CONSTRAINTS = ("json", "regex", "choice", "grammar", "json_object", "structural_tag")
_FIRST = ("queries", "data_1", "text_1")
_SECOND = {
    "queries": ("documents", "items"),
    "data_1": ("data_2",),
    "text_1": ("text_2",),
}


def check_sampling(request: Generating) -> None:
    if isinstance(request.stop, list) and len(request.stop) > STOP_MAX:
        raise errors.bad_request(
            f"Invalid 'stop': {len(request.stop)} sequences, at most {STOP_MAX}.", param="stop"
        )
    if request.stream_options is not None and not request.stream:
        raise errors.bad_request(
            "The 'stream_options' parameter is only allowed when 'stream' is enabled.",
            param="stream_options",
        )
    if request.prompt_logprobs and request.stream:
        raise errors.bad_request(
            "'prompt_logprobs' are not available when 'stream' is enabled.",
            param="prompt_logprobs",
        )
    if request.logprob_token_ids and not request.logprobs:
        raise errors.bad_request(
            "'logprob_token_ids' needs 'logprobs' to be set.", param="logprob_token_ids"
        )
    shape = request.response_format
    if shape is not None and shape.type == "json_schema" and shape.json_schema is None:
        raise missing_parameter("response_format.json_schema")
    if request.structured_outputs is not None:
        _check_constraints(request.structured_outputs)


def _check_constraints(outputs: StructuredOutputs) -> None:
    given = [name for name in _CONSTRAINTS if getattr(outputs, name) is not None]
    if len(given) != 1:
        told = ", ".join(given) or "none"
        raise errors.bad_request(
            f"Invalid 'structured_outputs': give one of {', '.join(_CONSTRAINTS)}; there is "
            f"{told}.",
            param="structured_outputs",
        )


def check_provider(provider: Provider) -> None:
    if provider.max_price is not None:
        for name in provider.max_price.__struct_fields__:
            usd: Decimal | None = getattr(provider.max_price, name)
            if usd is not None and not (usd.is_finite() and 0 <= usd <= USD_MAX):
                param = f"provider.max_price.{name}"
                raise errors.bad_request(
                    f"Invalid '{param}': decimal out of range, it must be 0 to {USD_MAX} USD.",
                    param=param,
                    code="decimal_out_of_range",
                )
    both = set(provider.only or ()) & set(provider.ignore or ())
    if both:
        raise errors.bad_request(
            f"Invalid 'provider.ignore': {sorted(both)} are in 'only' too.", param="provider.ignore"
        )


def check_chat(request: ChatRequest) -> None:
    if not request.messages:
        raise missing_parameter("messages")
    for index, message in enumerate(request.messages):
        if message.content is None or message.role == "tool":
            _check_message(message, f"messages[{index}]")
    if request.top_logprobs and not request.logprobs:
        raise errors.bad_request(
            "'top_logprobs' needs 'logprobs' to be true.", param="top_logprobs"
        )
    if request.reasoning is not None:
        check_reasoning(request.reasoning, request.reasoning_effort)
    if request.continue_final_message and request.add_generation_prompt:
        raise errors.bad_request(
            "'continue_final_message' needs 'add_generation_prompt' to be false.",
            param="continue_final_message",
        )
    if request.tools is not None or request.tool_choice is not None:
        _check_tools(request)


def _check_message(message: Message, where: str) -> None:
    if message.content is None and message.role != "assistant":
        raise missing_parameter(f"{where}.content")
    if message.role == "tool" and message.tool_call_id is None:
        raise missing_parameter(f"{where}.tool_call_id")


def _check_tools(request: ChatRequest) -> None:
    choice = request.tool_choice
    if request.tools == []:
        raise errors.bad_request("Invalid 'tools': the list is empty.", param="tools")
    if choice is None:
        return
    if isinstance(choice, str) and choice not in _TOOL_CHOICES:
        raise errors.bad_request(
            f"Invalid 'tool_choice': '{choice}' is none of {sorted(_TOOL_CHOICES)}.",
            param="tool_choice",
        )
    if choice != "none" and not request.tools:
        raise errors.bad_request(
            "'tool_choice' is only allowed when 'tools' are specified.", param="tool_choice"
        )
    if not isinstance(choice, str):
        name = choice.function.name
        if all(tool.function.name != name for tool in request.tools or ()):
            raise errors.bad_request(
                f"Invalid 'tool_choice': '{name}' is none of the 'tools'.", param="tool_choice"
            )


def prompts_of(prompt: Prompt | UnsetType, param: str) -> int:
    """How many prompts the field holds. Raises ApiError if it holds none, or too many."""
    if isinstance(prompt, UnsetType):
        raise missing_parameter(param)
    if not prompt or (not isinstance(prompt, str) and ("" in prompt or [] in prompt)):
        raise errors.bad_request(f"Invalid '{param}': it is empty.", param=param)
    if isinstance(prompt, str):
        return 1
    if len({type(entry) for entry in prompt}) > 1:
        raise errors.bad_request(f"Invalid '{param}': it mixes texts and token ids.", param=param)
    if isinstance(prompt[0], int):
        return 1
    return _bounded(len(prompt), param)


def pairs_of(request: RerankRequest | ScoreRequest) -> tuple[list[Scored], list[Scored]]:
    """What is compared: one with each of many, or two lists entry by entry."""
    if isinstance(request, RerankRequest):
        first, second, param = "query", "documents", "documents"
    else:
        first, second = _names(request)
        param = second
    left, right = _listed(request, first), _listed(request, second)
    if len(left) not in (1, len(right)):
        raise errors.bad_request(
            f"Invalid '{param}': {len(right)} entries, but '{first}' has {len(left)}; it must have "
            "as many, or one.",
            param=param,
        )
    _bounded(len(right), param)
    return left, right


def _names(request: ScoreRequest) -> tuple[str, str]:
    for first in _FIRST:
        if not isinstance(getattr(request, first), UnsetType):
            for second in _SECOND[first]:
                if not isinstance(getattr(request, second), UnsetType):
                    return first, second
            raise missing_parameter(_SECOND[first][0])
    raise missing_parameter("queries")


def _listed(request: RerankRequest | ScoreRequest, param: str) -> list[Scored]:
    value: Scored | list[Scored] | UnsetType = getattr(request, param)
    if isinstance(value, UnsetType):
        raise missing_parameter(param)
    if not value or (isinstance(value, list) and "" in value):
        raise errors.bad_request(f"Invalid '{param}': it is empty.", param=param)
    return value if isinstance(value, list) else [value]


def _bounded(count: int, param: str) -> int:
    if count > INPUTS_MAX:
        raise errors.bad_request(
            f"Invalid '{param}': {count} entries, at most {INPUTS_MAX}.", param=param
        )
    return count

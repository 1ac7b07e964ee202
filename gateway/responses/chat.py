"""A Responses request told as the chat completion that answers it. Pure.

instructions              the first message
input, what came before   messages (`items.py`)
tools, tool_choice        functions; `allowed_tools` leaves the others out
text.format               response_format
reasoning.effort          reasoning_effort
max_output_tokens         max_completion_tokens
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from gateway import errors
from gateway.errors import ApiError
from gateway.responses.items import Json, messages_of, read_as
from gateway.responses.schema import JsonObject, JsonSchema, ResponsesRequest

_PARAMS = {
    "messages": "input",
    "max_completion_tokens": "max_output_tokens",
    "max_tokens": "max_output_tokens",
    "reasoning_effort": "reasoning.effort",
    "response_format": "text.format",
}
"""What a chat completion calls differently."""

_UNSERVED = ("conversation", "prompt", "context_management", "moderation", "image")


class _Function(Struct):
    name: Annotated[str, Meta(min_length=1, max_length=128)]
    type: Literal["function"] = "function"
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class _Named(Struct):
    type: Literal["function"]
    name: str


class _Allowed(Struct):
    type: Literal["allowed_tools"]
    mode: Literal["auto", "required"]
    tools: Annotated[list[_Named], Meta(min_length=1)]


def refuse_unserved(request: ResponsesRequest) -> None:
    """Raises ApiError (400) for what needs OpenAI's own platform."""
    for name in _UNSERVED:
        if getattr(request, name) is not None:
            raise errors.bad_request(
                f"'{name}' is not supported here: leave it out. What was said before is carried "
                "on by 'previous_response_id', or by sending it in 'input'.",
                param=name,
                code="unsupported_parameter",
            )
    if not request.input and request.previous_response_id is None:
        raise errors.bad_request(
            "Missing required parameter: 'input'.",
            param="input",
            code="missing_required_parameter",
        )


def chat_request(request: ResponsesRequest, items: list[Json], *, stream: bool) -> Json:
    """The body of the chat completion, of all items from the first turn on.

    Raises ApiError (400).
    """
    messages = messages_of(items)
    if request.instructions:
        messages.insert(0, {"role": "system", "content": request.instructions})
    given = {
        "temperature": request.temperature,
        "top_p": request.top_p,
        "max_completion_tokens": request.max_output_tokens,
        "reasoning_effort": request.reasoning and request.reasoning.effort,
        "response_format": _format(request),
        "prompt_cache_key": request.prompt_cache_key,
        "user": request.user,
    }
    body: Json = {"model": request.model, "messages": messages}
    body |= {name: value for name, value in given.items() if value is not None}
    body |= _tools(request)
    if request.logprobs_wanted:
        body |= {"logprobs": True, "top_logprobs": request.top_logprobs or 0}
    if stream:
        body["stream"] = True
        body["stream_options"] = {"include_usage": True, "continuous_usage_stats": True}
    return body


def tools_shown(request: ResponsesRequest) -> list[Json]:
    """The tools as a response tells them. Raises ApiError (400)."""
    shown: list[Json] = []
    for index, tool in enumerate(request.tools or []):
        where = f"tools[{index}]"
        if tool.get("type") != "function":
            raise errors.bad_request(
                f"Invalid value for '{where}.type': '{str(tool.get('type'))[:100]}' is a tool that "
                "OpenAI runs, or none; here every tool is the caller's, of type 'function'.",
                param=f"{where}.type",
                code="invalid_value",
            )
        shown.append(msgspec.to_builtins(read_as(_Function, tool, where)))
    return shown


def _tools(request: ResponsesRequest) -> Json:
    tools = {tool["name"]: tool for tool in tools_shown(request)}
    choice: str | Json | None = None
    if request.tool_choice is not None:
        tools, choice = _chosen(request.tool_choice, tools)
    if not tools:
        return {}
    told: Json = {"tools": [_chat_tool(tool) for tool in tools.values()]}
    if choice is not None:
        told["tool_choice"] = choice
    if request.parallel_tool_calls is not None:
        told["parallel_tool_calls"] = request.parallel_tool_calls
    return told


def _chosen(
    choice: str | Json, tools: dict[str, Json]
) -> tuple[dict[str, Json], str | Json | None]:
    """The tools that may be called, and the choice that a chat is given."""
    if isinstance(choice, str):
        if choice not in ("none", "auto", "required"):
            raise _bad_choice(f"'{choice[:100]}' is none of 'none', 'auto', 'required'")
        if choice == "required" and not tools:
            raise _bad_choice("'required' needs 'tools'")
        return tools, choice
    if choice.get("type") == "function":
        name = read_as(_Named, choice, "tool_choice").name
        _check_known([name], tools)
        return tools, {"type": "function", "function": {"name": name}}
    if choice.get("type") == "allowed_tools":
        allowed = read_as(_Allowed, choice, "tool_choice")
        names = [tool.name for tool in allowed.tools]
        _check_known(names, tools)
        return {name: tools[name] for name in tools if name in names}, allowed.mode
    raise _bad_choice(f"the type '{str(choice.get('type'))[:100]}' is not supported here")


def _check_known(names: list[str], tools: dict[str, Json]) -> None:
    for name in names:
        if name not in tools:
            raise _bad_choice(f"'{name[:100]}' is not among 'tools'")


def _bad_choice(reason: str) -> ApiError:
    return errors.bad_request(
        f"Invalid 'tool_choice': {reason}.", param="tool_choice", code="invalid_value"
    )


def _chat_tool(tool: Json) -> Json:
    function = {
        name: tool[name]
        for name in ("name", "description", "parameters", "strict")
        if tool[name] is not None
    }
    return {"type": "function", "function": function}


def _format(request: ResponsesRequest) -> Json | None:
    format = request.text and request.text.format
    if isinstance(format, JsonSchema):
        told: Json = {"name": format.name, "schema": format.schema}
        if format.description is not None:
            told["description"] = format.description
        if format.strict is not None:
            told["strict"] = format.strict
        return {"type": "json_schema", "json_schema": told}
    return {"type": "json_object"} if isinstance(format, JsonObject) else None


def renamed(message: str, param: str | None) -> tuple[str, str | None]:
    """What is said of a field of the chat completion, told of the field that the caller gave."""
    if param not in _PARAMS:
        return message, param
    return message.replace(f"'{param}'", f"'{_PARAMS[param]}'"), _PARAMS[param]

"""A Messages request told as a chat completion, and a chat completion told as a Message. Pure.

system                    the first message
tool_result blocks        messages of the role `tool`, before the rest of their turn, which their
                          images begin: a message of that role holds text alone
tool_use blocks           the assistant's `tool_calls`
thinking blocks           left out: a chat template puts no reasoning of former turns back
thinking                  `thinking_token_budget`, `include_reasoning`
tools, tool_choice        functions; `any` is `required`
"""

from __future__ import annotations

from typing import Any

import msgspec

from gateway import errors
from gateway.anthropic.schema import (
    Block,
    ImageBlock,
    MessagesRequest,
    TextBlock,
    TokensRequest,
    Tool,
    ToolChoice,
    ToolResultBlock,
    ToolUseBlock,
    Turn,
)

Json = dict[str, Any]

STOP_REASONS = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
}
_CHOICES = {"auto": "auto", "any": "required", "none": "none"}


def chat_request(request: MessagesRequest) -> Json:
    """The body of the chat completion that answers it. Raises ApiError (400)."""
    given = {
        "temperature": request.temperature,
        "top_p": request.top_p,
        "top_k": request.top_k,
        "stop": request.stop_sequences or None,
        "user": request.metadata.user_id if request.metadata else None,
    }
    body = prompt(request) | {name: value for name, value in given.items() if value is not None}
    body["max_completion_tokens"] = request.max_tokens
    if request.thinking is not None:
        body["include_reasoning"] = request.thinking.type != "disabled"
        if request.thinking.budget_tokens is not None:
            body["thinking_token_budget"] = request.thinking.budget_tokens
    if request.stream:
        body["stream"] = True
        body["stream_options"] = {"include_usage": True, "continuous_usage_stats": True}
    return body


def prompt(request: TokensRequest) -> Json:
    """Model, messages and tools: all that the prompt is made of. Raises ApiError (400)."""
    messages: list[Json] = []
    if request.system:
        messages.append({"role": "system", "content": _system(request.system)})
    for index, turn in enumerate(request.messages):
        messages += _messages(turn, f"messages[{index}]")
    body: Json = {"model": request.model, "messages": messages}
    if request.tools:
        body["tools"] = [_function(tool, index) for index, tool in enumerate(request.tools)]
    if request.tool_choice is not None:
        body |= _choice(request.tool_choice)
    return body


def _system(system: str | list[TextBlock]) -> str:
    return system if isinstance(system, str) else "\n".join(block.text for block in system)


def _messages(turn: Turn, where: str) -> list[Json]:
    if isinstance(turn.content, str):
        return [{"role": turn.role, "content": turn.content}]
    answers = [block for block in turn.content if isinstance(block, ToolResultBlock)]
    results = [_result(block) for block in answers]
    calls = [_call(block) for block in turn.content if isinstance(block, ToolUseBlock)]
    blocks = [*(image for block in answers for image in _images(block)), *turn.content]
    parts = [part for block in blocks if (part := _part(block, where)) is not None]
    if results and turn.role != "user":
        raise errors.bad_request(
            f"A tool_result block is only allowed in a turn of the user, not in {where}.",
            param=f"{where}.content",
        )
    if calls and turn.role != "assistant":
        raise errors.bad_request(
            f"A tool_use block is only allowed in a turn of the assistant, not in {where}.",
            param=f"{where}.content",
        )
    if not parts and not calls:
        return results or [{"role": turn.role, "content": ""}]
    message: Json = {"role": turn.role, "content": _content(parts)}
    if calls:
        message["tool_calls"] = calls
    return [*results, message]


def _content(parts: list[Json]) -> str | list[Json] | None:
    """Texts alone as one text: that is what every chat template understands."""
    if all(part["type"] == "text" for part in parts):
        return "".join(part["text"] for part in parts) or None
    return parts


def _part(block: Block, where: str) -> Json | None:
    if isinstance(block, TextBlock):
        return {"type": "text", "text": block.text}
    if isinstance(block, ImageBlock):
        return {"type": "image_url", "image_url": {"url": _image_url(block, where)}}
    return None


def _image_url(block: ImageBlock, where: str) -> str:
    source = block.source
    if source.type == "url" and source.url is not None:
        return source.url
    if source.type == "base64" and source.data is not None and source.media_type is not None:
        return f"data:{source.media_type};base64,{source.data}"
    raise errors.bad_request(
        f"An image in {where} has no content: a source of type 'base64' needs 'media_type' and "
        "'data', one of type 'url' needs 'url'.",
        param=f"{where}.content",
    )


def _result(block: ToolResultBlock) -> Json:
    content = block.content
    if not isinstance(content, str):
        content = "".join(part.text for part in content if isinstance(part, TextBlock))
    return {"role": "tool", "tool_call_id": block.tool_use_id, "content": content}


def _images(block: ToolResultBlock) -> list[ImageBlock]:
    if isinstance(block.content, str):
        return []
    return [part for part in block.content if isinstance(part, ImageBlock)]


def _call(block: ToolUseBlock) -> Json:
    arguments = msgspec.json.encode(block.input).decode()
    return {
        "id": block.id,
        "type": "function",
        "function": {"name": block.name, "arguments": arguments},
    }


def _function(tool: Tool, index: int) -> Json:
    if tool.type not in (None, "custom") or tool.input_schema is None:
        raise errors.bad_request(
            f"tools[{index}] ('{tool.name}') is run by Anthropic's own servers; here every tool is "
            "the caller's, of type 'custom', with an 'input_schema'.",
            param=f"tools[{index}].type",
        )
    function: Json = {"name": tool.name, "parameters": tool.input_schema}
    if tool.description is not None:
        function["description"] = tool.description
    if tool.strict is not None:
        function["strict"] = tool.strict
    return {"type": "function", "function": function}


def _choice(choice: ToolChoice) -> Json:
    told: Json = {}
    if choice.type == "tool":
        if choice.name is None:
            raise errors.bad_request("A tool_choice of type 'tool' needs a 'name'.")
        told["tool_choice"] = {"type": "function", "function": {"name": choice.name}}
    else:
        told["tool_choice"] = _CHOICES[choice.type]
    if choice.disable_parallel_tool_use:
        told["parallel_tool_calls"] = False
    return told


def message(completion: Json, message_id: str) -> Json:
    """The Message of a whole chat completion."""
    (choice,) = completion["choices"]
    answer = choice["message"]
    content: list[Json] = []
    if reasoning := answer.get("reasoning") or answer.get("reasoning_content"):
        content.append({"type": "thinking", "thinking": reasoning, "signature": ""})
    if answer.get("content"):
        content.append({"type": "text", "text": answer["content"]})
    for call in answer.get("tool_calls") or []:
        function = call["function"]
        content.append(
            {
                "type": "tool_use",
                "id": call["id"],
                "name": function["name"],
                "input": _arguments(function["arguments"]),
            }
        )
    return {
        "id": message_id,
        "type": "message",
        "role": "assistant",
        "model": completion["model"],
        "content": content,
        **stop(choice),
        "usage": usage(completion.get("usage") or {}),
    }


def _arguments(text: str) -> Any:
    """What a model wrote may be no JSON; the caller is to see it all the same."""
    try:
        return msgspec.json.decode(text or "{}")
    except msgspec.DecodeError:
        return {"invalid_json": text}


def stop(choice: Json) -> Json:
    """Why a choice ended. vLLM says in `stop_reason` which stop sequence it was."""
    reason = STOP_REASONS.get(choice.get("finish_reason") or "stop", "end_turn")
    sequence = choice.get("stop_reason")
    if reason == "end_turn" and isinstance(sequence, str):
        return {"stop_reason": "stop_sequence", "stop_sequence": sequence}
    return {"stop_reason": reason, "stop_sequence": None}


def usage(given: Json) -> Json:
    """Anthropic counts what was read from the cache beside the input, not in it."""
    cached = (given.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
    return {
        "input_tokens": (given.get("prompt_tokens") or 0) - cached,
        "cache_read_input_tokens": cached,
        "cache_creation_input_tokens": 0,
        "output_tokens": given.get("completion_tokens") or 0,
    }

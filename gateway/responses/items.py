"""Input items: judged, given ids, and told as a chat's messages. Pure.

message                   a message; its texts joined if it has nothing else
function_call             a tool call of the assistant's message before it
function_call_output      a message of the role `tool`
reasoning                 left out: a chat template puts no reasoning of former turns back
item_reference            what it refers to, once `ItemIds.owner` said whose it is
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

from gateway import errors
from gateway.openai.explain import explain

Json = dict[str, Any]
T = TypeVar("T")

_PREFIXES = {
    "message": "msg",
    "function_call": "fc",
    "function_call_output": "fco",
    "reasoning": "rs",
}
_OWN_ID = re.compile(r"[a-z]+_([0-9a-f]{24})[io]\d+")


class _InputText(Struct, tag="input_text"):
    text: str


class _InputImage(Struct, tag="input_image"):
    image_url: str
    detail: Literal["low", "high", "auto", "original"] | None = None


class _OutputText(Struct, tag="output_text"):
    text: str


class _Refusal(Struct, tag="refusal"):
    refusal: str


class _Message(Struct):
    role: Literal["user", "assistant", "system", "developer"]
    content: str | list[_InputText | _InputImage | _OutputText | _Refusal]


_CallId = Annotated[str, Meta(min_length=1, max_length=256)]


class _FunctionCall(Struct):
    call_id: _CallId
    name: Annotated[str, Meta(min_length=1)]
    arguments: str


class _FunctionCallOutput(Struct):
    call_id: _CallId
    output: str | list[_InputText | _InputImage]


class _Reasoning(Struct):
    summary: list[Json] = []
    content: list[Json] | None = None


class _Reference(Struct):
    id: str


class ItemIds:
    """The ids of one response and its items: from an item's, one finds the response."""

    def __init__(self, base: str) -> None:
        """`base`: 24 hexadecimal digits."""
        self._base = base
        self.response = f"resp_{base}"

    def input(self, type: str, index: int) -> str:
        return f"{_PREFIXES[type]}_{self._base}i{index}"

    def output(self, type: str, index: int) -> str:
        return f"{_PREFIXES[type]}_{self._base}o{index}"

    @staticmethod
    def owner(item_id: str) -> str | None:
        """The id of the response that an item is of; None if no such item was made here."""
        match = _OWN_ID.fullmatch(item_id)
        return f"resp_{match[1]}" if match else None


def references(items: list[Json]) -> dict[str, str]:
    """The responses that items refer to, by the place of the reference.

    Raises ApiError (400) for a reference to what was never made here.
    """
    found = {}
    for index, item in enumerate(items):
        if item.get("type") == "item_reference":
            item_id = read_as(_Reference, item, f"input[{index}]").id
            owner = ItemIds.owner(item_id)
            if owner is None:
                raise _unknown_reference(item_id, index)
            found[item_id] = owner
    return found


def judged(items: str | list[Json], ids: ItemIds, referred: dict[str, Json]) -> list[Json]:
    """Input items as they are kept and listed: whole, with ids. `referred` are those that others
    refer to. Raises ApiError (400) naming the place.
    """
    if isinstance(items, str):
        items = [{"role": "user", "content": items}]
    whole = []
    for index, item in enumerate(items):
        if item.get("type") == "item_reference":
            item_id = read_as(_Reference, item, f"input[{index}]").id
            if item_id not in referred:
                raise _unknown_reference(item_id, index)
            whole.append(referred[item_id])
        else:
            whole.append(_whole(item, index, ids))
    return whole


def _unknown_reference(item_id: str, index: int) -> errors.ApiError:
    return errors.bad_request(
        f"Item with id '{item_id[:100]}' not found: it was never made here, was not stored, or is "
        "no more.",
        param=f"input[{index}].id",
        code="item_not_found",
    )


def _whole(item: Json, index: int, ids: ItemIds) -> Json:
    where = f"input[{index}]"
    type = item.get("type", "message")
    if type not in _PREFIXES:
        raise errors.bad_request(
            f"Invalid value for '{where}.type': '{str(type)[:100]}' is not supported here; "
            f"supported are {', '.join(sorted([*_PREFIXES, 'item_reference']))}.",
            param=f"{where}.type",
            code="invalid_value",
        )
    given = item.get("id")
    item_id = given if isinstance(given, str) and given else ids.input(type, index)
    told = _TOLD[type](item, where)
    return {"id": item_id, "type": type, "status": "completed", **told}


def _whole_message(item: Json, where: str) -> Json:
    message = read_as(_Message, item, where)
    content = message.content
    if isinstance(content, str):
        kind = _OutputText if message.role == "assistant" else _InputText
        content = [kind(text=content)]
    return {"role": message.role, "content": [_part(part) for part in content]}


def _part(part: _InputText | _InputImage | _OutputText | _Refusal) -> Json:
    if isinstance(part, _OutputText):
        return {"type": "output_text", "text": part.text, "annotations": [], "logprobs": []}
    told: Json = msgspec.to_builtins(part)
    if isinstance(part, _InputImage):
        told["detail"] = part.detail or "auto"
    return told


def _whole_call(item: Json, where: str) -> Json:
    told: Json = msgspec.to_builtins(read_as(_FunctionCall, item, where))
    return told


def _whole_output(item: Json, where: str) -> Json:
    read = read_as(_FunctionCallOutput, item, where)
    output = read.output
    told = output if isinstance(output, str) else [_part(part) for part in output]
    return {"call_id": read.call_id, "output": told}


def _whole_reasoning(item: Json, where: str) -> Json:
    reasoning = read_as(_Reasoning, item, where)
    return {"summary": reasoning.summary, "content": reasoning.content or []}


_TOLD = {
    "message": _whole_message,
    "function_call": _whole_call,
    "function_call_output": _whole_output,
    "reasoning": _whole_reasoning,
}


def read_as(type: type[T], value: object, where: str) -> T:
    """A part of the body in the shape it must have. Raises ApiError (400) naming the field."""
    try:
        return msgspec.convert(value, type)
    except msgspec.ValidationError as error:
        raise explain(str(error), type, where) from None


def messages_of(items: list[Json]) -> list[Json]:
    """The chat that whole items tell, in their order."""
    messages: list[Json] = []
    for item in items:
        if item["type"] == "message":
            messages.append({"role": item["role"], "content": _content(item["content"])})
        elif item["type"] == "function_call":
            if not messages or messages[-1]["role"] != "assistant":
                messages.append({"role": "assistant", "content": None})
            messages[-1].setdefault("tool_calls", []).append(_call(item))
        elif item["type"] == "function_call_output":
            output = item["output"]
            content = output if isinstance(output, str) else _content(output)
            told = {"role": "tool", "tool_call_id": item["call_id"], "content": content}
            messages.append(told)
    return messages


def _content(parts: list[Json]) -> str | list[Json]:
    """Texts alone as one text: that is what every chat template understands."""
    told = [_chat_part(part) for part in parts]
    if all(part["type"] == "text" for part in told):
        return "".join(part["text"] for part in told)
    return told


def _chat_part(part: Json) -> Json:
    if part["type"] == "input_image":
        detail = "high" if part["detail"] == "original" else part["detail"]
        return {"type": "image_url", "image_url": {"url": part["image_url"], "detail": detail}}
    return {"type": "text", "text": part.get("text") or part.get("refusal") or ""}


def _call(item: Json) -> Json:
    function = {"name": item["name"], "arguments": item["arguments"]}
    return {"id": item["call_id"], "type": "function", "function": function}

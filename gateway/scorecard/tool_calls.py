"""The tool calls of one answer, judged as OpenRouter judges them. Pure, and slow: off the loop.

Of an answer that finished with `tool_calls`: each call's arguments are JSON, its name is one of the
request's tools, and its arguments are valid against that tool's `parameters` (JSON schema, Draft
7). One bad call makes the request an error. Nothing is fetched for a `$ref`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import msgspec

from gateway.scorecard.rules import ToolEnd
from gateway.scorecard.tool_job import Job
from metering.stream_meter import UNREADABLE


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: str | None = None


class _Call(msgspec.Struct):
    index: int = 0
    function: _Function | None = None


class _Said(msgspec.Struct):
    tool_calls: list[_Call] | None = None


class _Choice(msgspec.Struct):
    index: int = 0
    message: _Said | None = None
    delta: _Said | None = None
    finish_reason: str | None = None


class _Part(msgspec.Struct):
    choices: list[_Choice] | None = None


_part = msgspec.json.Decoder(_Part)
_NEVER_BACKTRACKS = jsonschema_rs.RegexOptions()
Called = tuple[str, str]
"""Name and arguments."""


def judge(job: Job) -> ToolEnd | None:
    """None if the answer did not finish with tool calls."""
    try:
        calls = list(_streamed(job.answer) if job.stream else _whole(job.answer))
    except UNREADABLE:
        return ToolEnd.UNCHECKED
    if not calls:
        return None
    verdicts = {_judge_call(name, arguments, job.tools) for name, arguments in calls}
    return max(verdicts - {ToolEnd.UNCHECKED}, default=ToolEnd.UNCHECKED)


def _judge_call(name: str, arguments: str, tools: dict[str, dict[str, Any] | None]) -> ToolEnd:
    try:
        given = msgspec.json.decode(arguments)
    except RecursionError:
        return ToolEnd.UNCHECKED
    except UNREADABLE:
        return ToolEnd.INVALID_JSON
    if name not in tools:
        return ToolEnd.UNKNOWN_NAME
    schema = tools[name]
    if schema is None:
        return ToolEnd.VALID
    try:
        validator = jsonschema_rs.Draft7Validator(
            schema, offline=True, pattern_options=_NEVER_BACKTRACKS
        )
        return ToolEnd.VALID if validator.is_valid(given) else ToolEnd.SCHEMA_MISMATCH
    except ValueError:  # jsonschema_rs: this is no schema, or it refers to what is not in it
        return ToolEnd.UNCHECKED


def _whole(answer: bytes) -> Iterator[Called]:
    for choice in _part.decode(answer).choices or ():
        if choice.finish_reason == "tool_calls" and choice.message is not None:
            for call in choice.message.tool_calls or ():
                function = call.function or _Function()
                yield function.name or "", function.arguments or ""


def _streamed(answer: bytes) -> Iterator[Called]:
    """The pieces of each call put together, choice by choice."""
    calls: dict[tuple[int, int], tuple[list[str], list[str]]] = {}
    finished: set[int] = set()
    for event in answer.replace(b"\r\n", b"\n").split(b"\n\n"):
        data = event.removeprefix(b"data:").strip()
        if data == event or data == b"[DONE]":
            continue
        for choice in _part.decode(data).choices or ():
            if choice.finish_reason == "tool_calls":
                finished.add(choice.index)
            for call in (choice.delta and choice.delta.tool_calls) or ():
                names, arguments = calls.setdefault((choice.index, call.index), ([], []))
                function = call.function or _Function()
                names.append(function.name or "")
                arguments.append(function.arguments or "")
    for (index, _), (names, arguments) in calls.items():
        if index in finished:
            yield "".join(names), "".join(arguments)

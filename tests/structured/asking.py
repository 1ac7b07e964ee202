"""Requests for JSON of a schema, made in every way that there is, and their answers judged."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any, NamedTuple

import jsonschema
import openai
from openai.lib.streaming.chat import ChatCompletionStreamState

from .shapes import SHAPES

TOKENS_MAX = 600
AT_ONCE = 4
TIMEOUT_S = 600.0
TEMPERATURES = (0.0, 0.7, 1.0)
PROMPT = "Tell me about Tollgate."
WAYS = list(itertools.product(("chat", "responses"), (False, True)))


class Ask(NamedTuple):
    number: int
    tool: bool
    """Tools of which one must be called; else the answer itself is to be of the shape."""
    shapes: tuple[str, ...]
    """Of the tools, or of the answer."""
    api: str
    """chat or responses"""
    streamed: bool

    @property
    def kind(self) -> str:
        what = "tool call" if self.tool else "json_schema"
        return f"{what}, {self.api}, {'streamed' if self.streamed else 'whole'}"

    @property
    def sampling(self) -> dict[str, Any]:
        return {"temperature": TEMPERATURES[self.number % len(TEMPERATURES)]}

    @property
    def definitions(self) -> list[dict[str, Any]]:
        return [{"name": name, "parameters": SHAPES[name], "strict": True} for name in self.shapes]

    @property
    def format(self) -> dict[str, Any]:
        (name,) = self.shapes
        return {"name": name, "schema": SHAPES[name], "strict": True}


class Answer(NamedTuple):
    finish: str
    told: list[tuple[str, str]]
    """Of each call the tool's name and its arguments; of an answer its shape and its text."""


def asks(each: int) -> Iterator[Ask]:
    """As many tool calls as answers, `each` of both, of all shapes in all ways by turns."""
    names = list(SHAPES)
    for number in range(each):
        api, streamed = WAYS[(number + number // len(names)) % len(WAYS)]
        two = (names[number % len(names)], names[(number + 1) % len(names)])
        yield Ask(number, True, two, api, streamed)
        yield Ask(number, False, two[:1], api, streamed)


async def faults(
    ai: openai.AsyncOpenAI, model: str, each: int
) -> AsyncIterator[tuple[Ask, str | None]]:
    """Every request with what is wrong with its answer: None if nothing is."""
    turns = asyncio.Semaphore(AT_ONCE)

    async def judged(ask: Ask) -> tuple[Ask, str | None]:
        async with turns:
            made = _of_chat if ask.api == "chat" else _of_responses
            return ask, fault(ask, await made(ai, model, ask))

    for done in asyncio.as_completed([judged(ask) for ask in asks(each)]):
        yield await done


def fault(ask: Ask, answer: Answer) -> str | None:
    """What is wrong with an answer, in words. Calls are judged as OpenRouter does it."""
    wanted = "completed" if ask.api == "responses" else "tool_calls" if ask.tool else "stop"
    if answer.finish != wanted:
        return f"ended with {answer.finish}, not {wanted}: {answer.told}"
    if not answer.told:
        return "there is nothing"
    for name, text in answer.told:
        if name not in ask.shapes:
            return f"calls {name!r}, which is no tool"
        try:
            jsonschema.Draft7Validator(SHAPES[name]).validate(json.loads(text))
        except (json.JSONDecodeError, jsonschema.ValidationError) as error:
            return f"{error.args[0]}: {text}"
    return None


async def _of_chat(ai: openai.AsyncOpenAI, model: str, ask: Ask) -> Answer:
    body: dict[str, Any] = {
        "model": model,
        "messages": [{"role": "user", "content": PROMPT}],
        "max_tokens": TOKENS_MAX,
        "seed": ask.number,
        **ask.sampling,
    }
    if ask.tool:
        tools = [{"type": "function", "function": each} for each in ask.definitions]
        body |= {"tools": tools, "tool_choice": "required"}
    else:
        body["response_format"] = {"type": "json_schema", "json_schema": ask.format}
    if ask.streamed:
        stream = ChatCompletionStreamState()
        async for chunk in await ai.chat.completions.create(**body, stream=True):
            stream.handle_chunk(chunk)
        told = stream.current_completion_snapshot
    else:
        told = await ai.chat.completions.create(**body)
    (choice,) = told.choices
    if ask.tool:
        calls = [each.function for each in choice.message.tool_calls or []]
        return Answer(choice.finish_reason, [(each.name, each.arguments) for each in calls])
    return Answer(choice.finish_reason, [(ask.shapes[0], choice.message.content or "")])


async def _of_responses(ai: openai.AsyncOpenAI, model: str, ask: Ask) -> Answer:
    body: dict[str, Any] = {
        "model": model,
        "input": PROMPT,
        "max_output_tokens": TOKENS_MAX,
        "store": False,
        **ask.sampling,
    }
    if ask.tool:
        tools = [{"type": "function", **each} for each in ask.definitions]
        body |= {"tools": tools, "tool_choice": "required"}
    else:
        body["text"] = {"format": {"type": "json_schema", **ask.format}}
    if ask.streamed:
        stream = await ai.responses.create(**body, stream=True)
        told = [event async for event in stream][-1].response
    else:
        told = await ai.responses.create(**body)
    if ask.tool:
        calls = [item for item in told.output if item.type == "function_call"]
        return Answer(told.status, [(each.name, each.arguments) for each in calls])
    return Answer(told.status, [(ask.shapes[0], told.output_text)])

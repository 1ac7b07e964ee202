"""What the fake node calls: arguments that fit, in the forms of vLLM."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import jsonschema_rs
import pytest
from node_client import connected

from serving.fake_faults import Fault
from serving.fake_node import FakeNode
from serving.fake_tools import call_for

WEATHER = {
    "type": "object",
    "properties": {
        "city": {"type": "string"},
        "unit": {"enum": ["C", "F"]},
        "days": {"type": "integer", "minimum": 3},
        "places": {"type": "array", "items": {"$ref": "#/$defs/Place"}, "minItems": 2},
        "note": {"anyOf": [{"type": "string", "minLength": 9}, {"type": "null"}]},
    },
    "required": ["city", "unit", "days", "places", "note"],
    "additionalProperties": False,
    "$defs": {"Place": {"type": "object", "properties": {"at": {"type": "number"}}}},
}
TOOLS = [
    {"type": "function", "function": {"name": "weather", "parameters": WEATHER}},
    {"type": "function", "function": {"name": "now"}},
]
ASKED: dict[str, Any] = {
    "model": "fake",
    "messages": [{"role": "user", "content": "What is the weather?"}],
    "tools": TOOLS,
}
NAMED = {"type": "function", "function": {"name": "now"}}


def test_arguments_are_valid_against_the_schema() -> None:
    call = call_for(ASKED)
    assert call is not None
    assert call.name == "weather"
    jsonschema_rs.Draft7Validator(WEATHER).validate(json.loads(call.arguments))


def test_no_tool_is_called_where_none_is_wanted() -> None:
    answered = [*ASKED["messages"], {"role": "tool", "content": "fine", "tool_call_id": "c"}]
    assert call_for(ASKED | {"tools": None}) is None
    assert call_for(ASKED | {"tool_choice": "none"}) is None
    assert call_for(ASKED | {"messages": answered}) is None


@pytest.mark.parametrize(
    ("more", "fault", "name", "finish"),
    [
        ({}, Fault(), "weather", "tool_calls"),
        ({"tool_choice": NAMED}, Fault(), "now", "stop"),
        ({"max_tokens": 2}, Fault(), "weather", "length"),
        ({}, Fault(tool_name="whether"), "whether", "tool_calls"),
        ({}, Fault(tool_arguments=""), "weather", "tool_calls"),
    ],
)
def test_a_stream_adds_up_to_the_whole(
    more: dict[str, Any], fault: Fault, name: str, finish: str
) -> None:
    async def scenario() -> None:
        async with FakeNode() as node, connected(node) as client:
            await node.inject(fault)
            _, whole = await client.answer(ASKED | more)
            client.send(ASKED | more | {"stream": True})
            await client.head()
            events = [json.loads(event) for event in (await client.events())[:-1]]
        (choice,) = whole["choices"]
        (call,) = choice["message"]["tool_calls"]
        assert choice["message"]["content"] is None
        assert (call["function"]["name"], choice["finish_reason"]) == (name, finish)
        pieces = [
            piece
            for event in events
            for piece in event["choices"][0]["delta"].get("tool_calls", ())
        ]
        assert pieces[0]["function"]["name"] == name
        assert pieces[0]["type"] == "function"
        assert pieces[0]["id"]
        told = "".join(piece["function"]["arguments"] for piece in pieces)
        assert told == call["function"]["arguments"]
        assert events[-1]["choices"][0]["finish_reason"] == finish

    asyncio.run(scenario())

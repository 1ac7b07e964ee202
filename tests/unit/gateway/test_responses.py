"""Requests for responses told as chat completions: pure, so by tables."""

from __future__ import annotations

import json

import pytest

from gateway.errors import ApiError
from gateway.openai.request import Endpoint, read, read_as
from gateway.responses.chat import chat_request, refuse_unserved
from gateway.responses.items import ItemIds, judged, references
from gateway.responses.schema import ResponsesRequest, responses_request

BASE = "0123456789abcdef01234567"
IDS = ItemIds(BASE)
WEATHER = {
    "type": "function",
    "name": "weather",
    "description": "Tells it",
    "parameters": {"type": "object"},
    "strict": True,
}


def request(**fields: object) -> ResponsesRequest:
    body = {"model": "m", "input": "hi"} | fields
    return read_as(responses_request, json.dumps(body).encode())


def chat(*, stream: bool = False, **fields: object) -> dict:
    asked = request(**fields)
    refuse_unserved(asked)
    body = chat_request(asked, judged(asked.input or [], IDS, {}), stream=stream)
    read(Endpoint.CHAT, json.dumps(body).encode())  # and admission will not refuse it
    return body


def test_a_plain_request() -> None:
    assert chat() == {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
    assert chat(stream=True)["stream_options"]["include_usage"]


def test_what_is_asked_is_handed_on() -> None:
    told = chat(
        instructions="Be brief.",
        temperature=0.5,
        top_p=0.9,
        max_output_tokens=16,
        reasoning={"effort": "low", "summary": "auto"},
        top_logprobs=2,
        user="u",
        prompt_cache_key="k",
        parallel_tool_calls=False,
        tools=[WEATHER],
        metadata={"a": "b"},
        service_tier="auto",
        include=["reasoning.encrypted_content"],
    )
    assert told["messages"][0] == {"role": "system", "content": "Be brief."}
    assert told.items() >= {"temperature": 0.5, "top_p": 0.9, "max_completion_tokens": 16}.items()
    assert told.items() >= {"reasoning_effort": "low", "user": "u", "logprobs": True}.items()
    assert (told["top_logprobs"], told["prompt_cache_key"]) == (2, "k")
    assert told["parallel_tool_calls"] is False
    function = {name: WEATHER[name] for name in ("name", "description", "parameters", "strict")}
    assert told["tools"] == [{"type": "function", "function": function}]
    assert not {"metadata", "store", "include"} & set(told)


def test_a_conversation_with_tools_and_pictures() -> None:
    call = {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": "{}"}
    told = chat(
        input=[
            {"role": "developer", "content": "one"},
            {
                "type": "message",
                "role": "user",
                "content": [
                    {"type": "input_text", "text": "what is it?"},
                    {"type": "input_image", "image_url": "data:image/png;base64,AAAA"},
                ],
            },
            {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "x"},
            {
                "type": "message",
                "id": "msg_1",
                "role": "assistant",
                "status": "completed",
                "content": [{"type": "output_text", "text": "let me see", "annotations": []}],
            },
            call,
            {**call, "call_id": "c2"},
            {"type": "function_call_output", "call_id": "c1", "output": "sunny"},
            {
                "type": "function_call_output",
                "call_id": "c2",
                "output": [{"type": "input_text", "text": "rain"}],
            },
            {**call, "call_id": "c3"},
        ],
        tools=[WEATHER],
    )
    developer, user, assistant, first, second, last = told["messages"]
    assert developer == {"role": "developer", "content": "one"}
    assert user["content"][1]["image_url"] == {
        "url": "data:image/png;base64,AAAA",
        "detail": "auto",
    }
    assert assistant["content"] == "let me see"
    assert [call["id"] for call in assistant["tool_calls"]] == ["c1", "c2"]
    assert first == {"role": "tool", "tool_call_id": "c1", "content": "sunny"}
    assert second["content"] == "rain"
    assert (last["role"], last["content"], len(last["tool_calls"])) == ("assistant", None, 1)


@pytest.mark.parametrize(
    ("choice", "told", "names"),
    [
        ("required", "required", ["weather", "time"]),
        ("none", "none", ["weather", "time"]),
        (
            {"type": "function", "name": "time"},
            {"type": "function", "function": {"name": "time"}},
            ["weather", "time"],
        ),
        (
            {
                "type": "allowed_tools",
                "mode": "required",
                "tools": [{"type": "function", "name": "time"}],
            },
            "required",
            ["time"],
        ),
    ],
)
def test_choices_of_tools(choice: object, told: object, names: list[str]) -> None:
    body = chat(tools=[WEATHER, {"type": "function", "name": "time"}], tool_choice=choice)
    assert body["tool_choice"] == told
    assert [tool["function"]["name"] for tool in body["tools"]] == names


def test_formats_of_text() -> None:
    schema = {"type": "json_schema", "name": "n", "schema": {"type": "object"}, "strict": True}
    assert chat(text={"format": schema})["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "n", "schema": {"type": "object"}, "strict": True},
    }
    told = chat(text={"format": {"type": "json_object"}})
    assert told["response_format"] == {"type": "json_object"}
    assert "response_format" not in chat(text={"format": {"type": "text"}, "verbosity": "low"})


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"nonsense": 1}, "nonsense"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"prompt": {"id": "p"}}, "prompt"),
        ({"context_management": [{"type": "compaction"}]}, "context_management"),
        ({"input": None}, "input"),
        ({"input": []}, "input"),
        ({"max_output_tokens": 15}, "max_output_tokens"),
        ({"temperature": 3}, "temperature"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"tools": [WEATHER, {"type": "function"}]}, "tools[1].name"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tool_choice": "sometimes", "tools": [WEATHER]}, "tool_choice"),
        ({"tool_choice": {"type": "file_search"}, "tools": [WEATHER]}, "tool_choice"),
        ({"tool_choice": {"type": "function", "name": "x"}, "tools": [WEATHER]}, "tool_choice"),
        ({"text": {"format": {"type": "json_schema"}}}, "text.format.name"),
        ({"reasoning": {"effort": "much"}}, "reasoning.effort"),
        ({"metadata": {"k": "v" * 513}}, "metadata[]"),
        ({"input": [{"type": "web_search_call"}]}, "input[0].type"),
        ({"input": [{"role": "user"}]}, "input[0].content"),
        ({"input": [{"role": "robot", "content": "x"}]}, "input[0].role"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "f"}]}]},
            "input[0].content[0].type",
        ),
        (
            {"input": [{"role": "user", "content": [{"type": "input_image", "file_id": "f"}]}]},
            "input[0].content[0].image_url",
        ),
        (
            {"input": [{"type": "function_call_output", "call_id": "", "output": ""}]},
            "input[0].call_id",
        ),
        ({"input": [{"type": "item_reference", "id": "msg_1"}]}, "input[0].id"),
    ],
)
def test_refusals_name_the_field(fields: dict, param: str) -> None:
    with pytest.raises(ApiError) as refused:
        chat(**fields)
    assert (refused.value.status, refused.value.param) == (400, param)


def test_items_get_ids_that_tell_whose_they_are() -> None:
    first, second, third = judged(
        [
            {"role": "user", "content": "hi"},
            {"type": "function_call", "call_id": "c", "name": "n", "arguments": "{}", "id": "fc_x"},
            {"type": "item_reference", "id": f"msg_{BASE}o0"},
        ],
        IDS,
        {f"msg_{BASE}o0": {"id": "found"}},
    )
    assert ItemIds.owner(first["id"]) == IDS.response == f"resp_{BASE}"
    assert second["id"] == "fc_x"
    assert ItemIds.owner("fc_x") is None
    assert third == {"id": "found"}
    assert references([{"type": "item_reference", "id": f"rs_{BASE}o2"}]) == {
        f"rs_{BASE}o2": f"resp_{BASE}"
    }
    with pytest.raises(ApiError, match="never made here"):
        references([{"type": "item_reference", "id": "rs_1"}])

"""Responses told as chat completions and back: pure, so by tables and byte by byte."""

from __future__ import annotations

import json
from typing import Any

import pytest
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from gateway.errors import ApiError
from gateway.openai.request import Endpoint, read, read_as
from gateway.responses.answer import begun, cancelled, failed
from gateway.responses.chat import chat_request, refuse_unserved
from gateway.responses.items import ItemIds, judged, references
from gateway.responses.schema import ResponsesRequest, responses_request
from gateway.responses.stream import ResponseStream

BASE = "0123456789abcdef01234567"
IDS = ItemIds(BASE)
USAGE = {
    "prompt_tokens": 9,
    "completion_tokens": 4,
    "prompt_tokens_details": {"cached_tokens": 5, "created_cache_tokens": 2},
    "completion_tokens_details": {"reasoning_tokens": 3},
}
TOLD_USAGE = {
    "input_tokens": 9,
    "input_tokens_details": {"cached_tokens": 5, "cache_write_tokens": 2},
    "output_tokens": 4,
    "output_tokens_details": {"reasoning_tokens": 3},
    "total_tokens": 13,
}
WEATHER = {
    "type": "function",
    "name": "weather",
    "description": "Tells it",
    "parameters": {"type": "object"},
    "strict": True,
}
events_type: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)


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


# -- answers ---------------------------------------------------------------------------------------


def stream_of(*, background: bool = False) -> ResponseStream:
    asked = request(tools=[WEATHER], background=background)
    return ResponseStream(begun(asked, IDS.response, created_s=5, stored=True), IDS)


def chunk(delta: dict | None = None, finish: str | None = None, **more: Any) -> bytes:
    fields: dict[str, Any] = {"id": "c", "object": "chat.completion.chunk", "choices": []}
    if delta is not None:
        choice = {"index": 0, "delta": delta, "finish_reason": finish, **more.pop("choice", {})}
        fields["choices"] = [choice]
    return b"data: " + json.dumps(fields | more).encode() + b"\n\n"


def call(index: int, arguments: str, **first: str) -> dict:
    function = {"arguments": arguments} | ({"name": first["name"]} if first else {})
    begun = {"id": first["id"], "type": "function"} if first else {}
    return {"tool_calls": [{"index": index, "function": function, **begun}]}


LOGPROB = {"token": "Hel", "logprob": -0.5, "bytes": [72], "top_logprobs": []}
CHAT = b"".join(
    [
        b": keep-alive\n\n",
        chunk({"role": "assistant", "content": ""}),
        chunk({"reasoning": "Hm"}),
        chunk({"reasoning_content": "m ✓"}),
        chunk({"content": "Hel"}, choice={"logprobs": {"content": [LOGPROB]}}),
        chunk({"content": "lo"}),
        chunk(call(0, '{"at"', id="c1", name="weather")),
        chunk(call(1, "{", id="c2", name="weather")),
        chunk(call(0, ":1}")),
        chunk(call(1, "}"), "tool_calls"),
        chunk(usage=USAGE),
        b"data: [DONE]\n\n",
    ]
)
COMPLETION = {
    "choices": [
        {
            "index": 0,
            "finish_reason": "tool_calls",
            "logprobs": {"content": [LOGPROB]},
            "message": {
                "role": "assistant",
                "reasoning": "Hmm ✓",
                "content": "Hello",
                "tool_calls": [
                    {"id": "c1", "function": {"name": "weather", "arguments": '{"at":1}'}},
                    {"id": "c2", "function": {"name": "weather", "arguments": "{}"}},
                ],
            },
        }
    ],
    "usage": USAGE,
}


def parsed(told: bytes) -> list[Any]:
    """The events, each of which the SDK knows, numbered one after another."""
    found = []
    for event in told.split(b"\n\n")[:-1]:
        name, data = event.split(b"\n")
        fields = json.loads(data.removeprefix(b"data: "))
        assert name == b"event: " + fields["type"].encode()
        found.append(events_type.validate_python(fields))
    assert [event.sequence_number for event in found] == list(range(len(found)))
    return found


def played(data: bytes, size: int) -> tuple[bytes, ResponseStream]:
    stream = stream_of()
    told = stream.begin()
    for start in range(0, len(data), size):
        told += stream.feed(data[start : start + size])
    told += stream.end(9)
    return told + stream.last(), stream


def test_a_stream_is_the_same_however_it_is_split() -> None:
    whole, stream = played(CHAT, len(CHAT))
    for size in (1, 2, 7, 64):
        told, split = played(CHAT, size)
        assert told == whole
        assert split.response == stream.response
    assert [event.type.removeprefix("response.") for event in parsed(whole)] == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "reasoning_text.delta",
        "reasoning_text.delta",
        "reasoning_text.done",
        "content_part.done",
        "output_item.done",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "output_item.added",
        "function_call_arguments.delta",
        "output_item.added",
        "function_call_arguments.delta",
        "function_call_arguments.delta",
        "function_call_arguments.delta",
        "function_call_arguments.done",
        "output_item.done",
        "function_call_arguments.done",
        "output_item.done",
        "completed",
    ]


def test_a_streams_response_is_the_one_of_a_whole_answer() -> None:
    _, streamed = played(CHAT, 100)
    whole = stream_of()
    whole.take(COMPLETION)
    whole.end(9)
    assert whole.response == streamed.response
    told = Response.model_validate(whole.response)
    reasoning, message, first, second = told.output
    assert reasoning.content[0].text == "Hmm ✓"
    assert told.output_text == "Hello"
    assert message.content[0].logprobs[0].token == "Hel"
    assert (first.call_id, first.arguments) == ("c1", '{"at":1}')
    assert (second.call_id, second.arguments) == ("c2", "{}")
    assert {item.status for item in told.output} == {"completed"}
    assert (told.status, told.completed_at) == ("completed", 9)
    assert whole.response["usage"] == TOLD_USAGE


def test_the_events_add_up_to_the_items() -> None:
    told, stream = played(CHAT, 33)
    done = {}
    texts: dict[int, str] = {}
    for event in parsed(told):
        if event.type.endswith(".delta"):
            texts[event.output_index] = texts.get(event.output_index, "") + event.delta
        elif event.type.endswith(("_text.done", "arguments.done")):
            last = event.text if hasattr(event, "text") else event.arguments
            assert texts[event.output_index] == last
        elif event.type == "response.output_item.done":
            done[event.output_index] = json.loads(event.item.model_dump_json(exclude_none=True))
    shown = Response.model_validate(stream.response).output
    assert [done[index] for index in range(4)] == [
        json.loads(item.model_dump_json(exclude_none=True)) for item in shown
    ]


@pytest.mark.parametrize(
    ("finish", "reason"), [("length", "max_output_tokens"), ("content_filter", "content_filter")]
)
def test_an_answer_that_was_cut_is_incomplete(finish: str, reason: str) -> None:
    data = chunk({"content": "Hel"}, finish) + chunk(usage=USAGE) + b"data: [DONE]\n\n"
    told, stream = played(data, 9)
    last = parsed(told)[-1]
    assert last.type == "response.incomplete"
    assert last.response.incomplete_details.reason == reason
    assert last.response.output[0].status == "incomplete" if finish == "length" else "completed"
    assert stream.response["completed_at"] is None


def test_a_node_that_failed_in_the_middle() -> None:
    error = {"code": 500, "message": "It failed.", "metadata": {"error_type": "upstream_error"}}
    told, stream = played(chunk({"content": "Hel"}) + chunk(error=error), 9)
    last = parsed(told)[-1]
    assert last.type == "response.failed"
    assert (last.response.error.code, last.response.error.message) == ("server_error", "It failed.")
    assert last.response.output_text == "Hel"
    assert last.response.output[0].status == "incomplete"
    assert "usage" not in stream.response


def test_a_background_response_is_queued_first() -> None:
    stream = stream_of(background=True)
    assert [event.type for event in parsed(stream.begin())] == [
        "response.created",
        "response.queued",
        "response.in_progress",
    ]
    stopped = Response.model_validate(cancelled(stream.response))
    assert (stopped.status, stopped.background) == ("cancelled", True)
    lost = Response.model_validate(failed(stream.response, "Gone."))
    assert (lost.status, lost.error.code) == ("failed", "server_error")


def test_an_answer_of_nothing() -> None:
    told, stream = played(chunk({}, "stop") + b"data: [DONE]\n\n", 100)
    assert parsed(told)[-1].response.output == []
    assert stream.response["status"] == "completed"

"""A chat's answer told as a response, streamed and not: pure, so byte by byte."""

from __future__ import annotations

import json
from typing import Any

import pytest
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from gateway.openai.events import COMMENT
from gateway.openai.request import read_as
from gateway.responses.answer import begun, cancelled, failed
from gateway.responses.items import ItemIds
from gateway.responses.schema import responses_request
from gateway.responses.stream import ResponseStream

IDS = ItemIds("0123456789abcdef01234567")
USAGE = {
    "prompt_tokens": 9,
    "completion_tokens": 4,
    "prompt_tokens_details": {"cached_tokens": 5, "cache_write_tokens": 2},
    "completion_tokens_details": {"reasoning_tokens": 3},
}
TOLD_USAGE = {
    "input_tokens": 9,
    "input_tokens_details": {"cached_tokens": 5, "cache_write_tokens": 2},
    "output_tokens": 4,
    "output_tokens_details": {"reasoning_tokens": 3},
    "total_tokens": 13,
}
events_type: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)


def stream_of(*, background: bool = False) -> ResponseStream:
    body = {"model": "m", "input": "hi", "background": background}
    asked = read_as(responses_request, json.dumps(body).encode())
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
    for event in told.replace(COMMENT, b"").split(b"\n\n")[:-1]:
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


def test_whoever_waits_hears_that_somebody_is_there() -> None:
    assert stream_of().feed(b": keep-alive\n\n: keep") == COMMENT
    told, _ = played(CHAT, 5)
    assert told.count(COMMENT) == 1
    assert told.index(COMMENT) > told.index(b"event: response.in_progress")


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

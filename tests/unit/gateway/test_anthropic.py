"""Messages told as chat completions and back: pure, so by tables and byte by byte."""

from __future__ import annotations

import json

import pytest

from gateway.anthropic.chat import chat_request, message
from gateway.anthropic.schema import messages_request
from gateway.anthropic.stream import MessageStream
from gateway.errors import ApiError

USAGE = {"prompt_tokens": 9, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 5}}
TOLD_USAGE = {
    "input_tokens": 4,
    "cache_read_input_tokens": 5,
    "cache_creation_input_tokens": 0,
    "output_tokens": 4,
}
WEATHER = {"name": "weather", "description": "Tells it", "input_schema": {"type": "object"}}


def chat(**fields: object) -> dict:
    body = {"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]}
    return chat_request(messages_request.decode(json.dumps(body | fields).encode()))


def test_a_plain_request() -> None:
    assert chat() == {
        "model": "m",
        "messages": [{"role": "user", "content": "hi"}],
        "max_completion_tokens": 5,
    }


def test_sampling_and_the_caller_are_handed_on() -> None:
    told = chat(
        temperature=0.5, top_p=0.9, top_k=3, stop_sequences=["x"], metadata={"user_id": "u"}
    )
    assert told.items() >= {"temperature": 0.5, "top_p": 0.9, "top_k": 3, "user": "u"}.items()
    assert told["stop"] == ["x"]


def test_a_tools_turns() -> None:
    told = chat(
        system=[{"type": "text", "text": "one", "cache_control": {"type": "ephemeral"}}],
        messages=[
            {"role": "user", "content": [{"type": "text", "text": "weather?"}]},
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "hm", "signature": "s"},
                    {"type": "text", "text": "let me see"},
                    {"type": "tool_use", "id": "t1", "name": "weather", "input": {"at": "Rome"}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "t1", "content": "sunny"},
                    {"type": "text", "text": "and?"},
                ],
            },
        ],
        tools=[WEATHER],
        tool_choice={"type": "any", "disable_parallel_tool_use": True},
    )
    system, user, assistant, result, last = told["messages"]
    assert system == {"role": "system", "content": "one"}
    assert user == {"role": "user", "content": "weather?"}
    assert assistant["content"] == "let me see"
    (call,) = assistant["tool_calls"]
    assert call["id"] == "t1"
    assert json.loads(call["function"]["arguments"]) == {"at": "Rome"}
    assert result == {"role": "tool", "tool_call_id": "t1", "content": "sunny"}
    assert last == {"role": "user", "content": "and?"}
    assert told["tools"][0]["function"]["parameters"] == {"type": "object"}
    assert told["tool_choice"] == "required"
    assert told["parallel_tool_calls"] is False


def test_a_picture_becomes_a_data_url() -> None:
    source = {"type": "base64", "media_type": "image/png", "data": "AAAA"}
    content = [{"type": "image", "source": source}, {"type": "text", "text": "what is it?"}]
    (told,) = chat(messages=[{"role": "user", "content": content}])["messages"]
    assert told["content"][0]["image_url"] == {"url": "data:image/png;base64,AAAA"}


def test_a_picture_that_a_tool_made_is_shown_after_all_results() -> None:
    source = {"type": "url", "url": "https://x/a.png"}
    made = [{"type": "text", "text": "here: "}, {"type": "image", "source": source}]
    content = [
        {"type": "tool_result", "tool_use_id": "t1", "content": made},
        {
            "type": "tool_result",
            "tool_use_id": "t2",
            "content": [{"type": "image", "source": source}],
        },
        {"type": "text", "text": "what is it?"},
    ]
    picture = {"type": "image_url", "image_url": {"url": "https://x/a.png"}}
    for asked, rest in ((content, [{"type": "text", "text": "what is it?"}]), (content[:2], [])):
        assert chat(messages=[{"role": "user", "content": asked}])["messages"] == [
            {"role": "tool", "tool_call_id": "t1", "content": "here: "},
            {"role": "tool", "tool_call_id": "t2", "content": ""},
            {"role": "user", "content": [picture, picture, *rest]},
        ]


@pytest.mark.parametrize(
    ("thinking", "becomes"),
    [
        ({"type": "enabled", "budget_tokens": 2048},
         {"include_reasoning": True, "thinking_token_budget": 2048}),
        ({"type": "adaptive"}, {"include_reasoning": True}),
        ({"type": "disabled"}, {"include_reasoning": False}),
    ],
)  # fmt: skip
def test_thinking_is_told_in_the_words_of_vllm(thinking: dict, becomes: dict) -> None:
    told = chat(thinking=thinking)
    for name in ("include_reasoning", "thinking_token_budget"):
        assert told.get(name) == becomes.get(name)


@pytest.mark.parametrize(
    "fields",
    [
        {"tools": [{"type": "bash_20250124", "name": "bash"}]},
        {"tool_choice": {"type": "tool"}},
        {
            "messages": [
                {"role": "assistant", "content": [{"type": "tool_result", "tool_use_id": "t"}]}
            ]
        },
        {
            "messages": [
                {
                    "role": "user",
                    "content": [{"type": "tool_use", "id": "t", "name": "n", "input": {}}],
                }
            ]
        },
        {"messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "url"}}]}]},
        {
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {
                            "type": "tool_result",
                            "tool_use_id": "t",
                            "content": [{"type": "image", "source": {"type": "url"}}],
                        }
                    ],
                }
            ]
        },
    ],
)
def test_what_no_chat_model_can_do_is_refused(fields: dict) -> None:
    with pytest.raises(ApiError) as refused:
        chat(**fields)
    assert refused.value.status == 400


def completion(answer: dict, **choice: object) -> dict:
    told = {"index": 0, "message": answer, "finish_reason": "stop", **choice}
    return {"model": "m", "choices": [told], "usage": USAGE}


@pytest.mark.parametrize(
    ("choice", "reason", "sequence"),
    [
        ({"finish_reason": "stop"}, "end_turn", None),
        ({"finish_reason": "length"}, "max_tokens", None),
        ({"finish_reason": "tool_calls"}, "tool_use", None),
        ({"finish_reason": "stop", "stop_reason": "END"}, "stop_sequence", "END"),
        ({"finish_reason": "stop", "stop_reason": 128009}, "end_turn", None),
    ],
)
def test_why_it_ended(choice: dict, reason: str, sequence: str | None) -> None:
    told = message(completion({"content": "hi"}, **choice), "msg_1")
    assert (told["stop_reason"], told["stop_sequence"]) == (reason, sequence)
    assert told["usage"] == TOLD_USAGE


def test_a_message_has_thinking_text_and_tool_calls_in_this_order() -> None:
    call = {"id": "c1", "function": {"name": "weather", "arguments": '{"at":"Rome"}'}}
    broken = {"id": "c2", "function": {"name": "weather", "arguments": '{"at":'}}
    answer = {"reasoning": "hm", "content": "so", "tool_calls": [call, broken]}
    told = message(completion(answer), "msg_1")["content"]
    assert [block["type"] for block in told] == ["thinking", "text", "tool_use", "tool_use"]
    assert told[2]["input"] == {"at": "Rome"}
    assert told[3]["input"] == {"invalid_json": '{"at":'}


def event(**fields: object) -> bytes:
    return b"data: " + json.dumps(fields).encode() + b"\n\n"


def delta(**fields: object) -> bytes:
    return event(choices=[{"index": 0, "delta": fields, "finish_reason": None}])


def call(index: int, arguments: str, **begun: str) -> bytes:
    function = {"arguments": arguments} | ({"name": begun.pop("name")} if begun else {})
    return delta(tool_calls=[{"index": index, "function": function, **begun}])


STREAM = (
    event(
        choices=[{"index": 0, "delta": {"role": "assistant"}}],
        usage=USAGE | {"completion_tokens": 0},
    )
    + b": keep-alive\n\n"
    + delta(reasoning="h")
    + delta(reasoning="m")
    + delta(content="so \u00e4")
    + call(0, "", id="c1", name="weather")
    + call(0, '{"at":')
    + call(0, '"Rome"}')
    + call(1, "{}", id="c2", name="weather")
    + event(choices=[{"index": 0, "delta": {}, "finish_reason": "tool_calls"}])
    + event(choices=[], usage=USAGE)
    + b"data: [DONE]\n\n"
)


def told(stream: bytes, size: int) -> list[dict]:
    reader = MessageStream("msg_1", "m")
    out = b"".join(reader.feed(stream[at : at + size]) for at in range(0, len(stream), size))
    events = []
    for text in out.decode().replace(": keep-alive\n\n", "").split("\n\n")[:-1]:
        name, data = text.split("\n")
        events.append(json.loads(data.removeprefix("data: ")))
        assert name == f"event: {events[-1]['type']}"
    return events


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_a_stream_however_it_is_cut(size: int) -> None:
    events = told(STREAM, size)
    start, *blocks, ending, stop = events
    assert start["message"]["usage"] == TOLD_USAGE | {"output_tokens": 0}
    assert stop == {"type": "message_stop"}
    assert ending["delta"] == {"stop_reason": "tool_use", "stop_sequence": None}
    assert ending["usage"] == TOLD_USAGE
    shape = [(block["type"].removeprefix("content_block_"), block["index"]) for block in blocks]
    assert shape == [
        *[("start", 0), ("delta", 0), ("delta", 0), ("stop", 0)],
        *[("start", 1), ("delta", 1), ("stop", 1)],
        *[("start", 2), ("delta", 2), ("delta", 2), ("stop", 2)],
        *[("start", 3), ("delta", 3), ("stop", 3)],
    ]
    parts = [block["delta"].get("partial_json", "") for block in blocks if "delta" in block]
    assert "".join(parts) == '{"at":"Rome"}{}'
    assert {"id": "c2", "name": "weather", "type": "tool_use", "input": {}} in [
        block.get("content_block") for block in blocks
    ]


def test_a_failure_in_a_stream_ends_it_as_an_error() -> None:
    failed = event(error={"code": 500, "message": "the node failed"}, choices=[])
    events = told(delta(content="so") + failed, 10_000)
    assert events[-1] == {
        "type": "error",
        "error": {"type": "api_error", "message": "the node failed"},
    }

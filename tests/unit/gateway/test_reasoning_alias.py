"""`reasoning` told as `reasoning_content` too, and nothing else touched."""

from __future__ import annotations

import json

import pytest

from gateway.openai.reasoning_alias import AliasingMeter, with_alias
from metering.stream_meter import StreamMeter

TEXTS = ["plain", 'a "quote" and \\ slash \\" end', "\\", "日本 🙂", '"reasoning":"x"', ""]


@pytest.mark.parametrize("text", TEXTS)
def test_a_whole_answer(text):
    message = {"role": "assistant", "content": text, "reasoning": text}
    answer = json.dumps({"choices": [{"message": message}]}, separators=(",", ":")).encode()
    told = json.loads(with_alias(answer))["choices"][0]["message"]
    assert told == message | {"reasoning_content": text}


def test_no_reasoning_is_none_under_both_names():
    assert with_alias(b'{"reasoning":null}') == b'{"reasoning":null,"reasoning_content":null}'


@pytest.mark.parametrize("text", TEXTS)
def test_a_stream(text):
    delta = json.dumps({"reasoning": text}, separators=(",", ":")).encode()
    usage = b'"usage":{"prompt_tokens":1,"completion_tokens":1}'
    event = b'data: {"choices":[{"index":0,"delta":%b}],%b}\n\n' % (delta, usage)
    told = AliasingMeter(keep_closing=False).feed(event)
    assert b"usage" not in told
    (choice,) = json.loads(told[6:])["choices"]
    assert choice["delta"] == {"reasoning": text, "reasoning_content": text}


def test_other_events_are_what_they_were():
    content = b'data: {"choices":[{"index":0,"delta":{"content":"\\"reasoning\\":\\"x\\""}}]}\n\n'
    for event in (content, b": keep-alive\n\n"):
        assert AliasingMeter(keep_closing=False).feed(event) == event
        assert StreamMeter(keep_closing=False).feed(event) == event

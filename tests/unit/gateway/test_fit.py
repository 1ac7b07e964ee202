"""What of a request can be held against its usage, and what a client could bend."""

from __future__ import annotations

import json

import pytest

from gateway.honesty.fit import fit_of, hidden_tokens_max, prompt_of
from gateway.openai.request import Endpoint, read
from metering.recount import Fit

HI = [{"role": "user", "content": "hi"}]
TOOLS = [{"type": "function", "function": {"name": "f"}}]


def chat(**fields):
    return read(Endpoint.CHAT, json.dumps({"model": "m", "messages": HI, **fields}).encode())


def completion(**fields):
    return read(Endpoint.COMPLETIONS, json.dumps({"model": "m", "prompt": "a", **fields}).encode())


def embedding(text):
    return read(Endpoint.EMBEDDINGS, json.dumps({"model": "m", "input": text}).encode())


@pytest.mark.parametrize(
    ("question", "fit"),
    [
        (chat(), Fit.PLAIN),
        (chat(temperature=1.5, frequency_penalty=0, repetition_penalty=1), Fit.PLAIN),
        (chat(response_format={"type": "text"}), Fit.PLAIN),
        (completion(), Fit.PLAIN),
        (chat(temperature=2), Fit.SHAPED),
        (chat(presence_penalty=1), Fit.SHAPED),
        (chat(repetition_penalty=1.2), Fit.SHAPED),
        (chat(tools=TOOLS), Fit.SHAPED),
        (chat(response_format={"type": "json_object"}), Fit.SHAPED),
        (completion(structured_outputs={"regex": "a"}), Fit.SHAPED),
        (chat(ignore_eos=True), Fit.NONE),
        (chat(logit_bias={"5": 100}), Fit.NONE),
        (chat(include_reasoning=False), Fit.NONE),
        (completion(echo=True), Fit.NONE),
        (embedding("a"), Fit.NONE),
    ],
)
def test_fit(question, fit):
    assert fit_of(question) is fit


def test_a_stop_string_may_hide_as_many_tokens_as_it_has_bytes():
    assert hidden_tokens_max(chat()) == 0
    assert hidden_tokens_max(chat(stop="äb")) == 3
    assert hidden_tokens_max(chat(stop=["a", "abcd"])) == 4


def test_prompts_that_are_all_text():
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    found = prompt_of(chat(messages=[{"role": "system", "content": "x"}, *HI]))
    assert found is not None
    assert (found.texts, found.template, found.shape) == (["x", "hi"], True, "su")
    assert prompt_of(chat(messages=[{"role": "user", "content": parts}])).texts == ["a", "b"]
    several = prompt_of(completion(prompt=["a", "bc"]))
    assert (several.texts, several.token_ids, several.template) == (["a", "bc"], 0, False)
    assert prompt_of(completion(prompt=[1, 2, 3])).token_ids == 3
    assert prompt_of(completion(prompt=[[1, 2], [3]])).token_ids == 3
    assert prompt_of(embedding("a b")).texts == ["a b"]


CALL = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}


@pytest.mark.parametrize(
    "fields",
    [
        {"tools": TOOLS},
        {"chat_template_kwargs": {"a": 1}},
        {"reasoning_effort": "high"},
        {"continue_final_message": True, "add_generation_prompt": False},
        {"add_generation_prompt": False},
        {"messages": [{"role": "user", "content": [{"type": "image_url", "text": None}]}]},
        {"messages": [*HI, {"role": "tool", "content": "x", "tool_call_id": "1"}]},
        {"messages": [*HI, {"role": "assistant", "tool_calls": [CALL]}]},
    ],
)
def test_prompts_that_hold_more_than_their_texts_are_left_alone(fields):
    assert prompt_of(chat(**fields)) is None

"""Every parameter of vLLM 0.32 is taken, and reaches the node, or is refused on purpose."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gateway.errors import ApiError
from gateway.openai.node_body import for_node
from gateway.openai.refused import INSTEAD
from gateway.openai.request import Endpoint, read

KNOWN = json.loads(
    (Path(__file__).parents[2] / "golden" / "vllm-0.32" / "parameters.json").read_text()
)
"""By endpoint, out of vLLM's own request classes."""

BODIES = {
    Endpoint.CHAT: {"model": "m", "messages": [{"role": "user", "content": "hi"}]},
    Endpoint.COMPLETIONS: {"model": "m", "prompt": "hi"},
    Endpoint.EMBEDDINGS: {"model": "m", "input": "hi"},
    Endpoint.RERANK: {"model": "m", "query": "a", "documents": ["b", "c"]},
    Endpoint.SCORE: {"model": "m", "queries": "a", "documents": ["b", "c"]},
}
TAKEN = {
    "user": "u",
    "n": 2,
    "seed": 7,
    "stop": ["x"],
    "temperature": 0.5,
    "top_p": 0.9,
    "frequency_penalty": 0.5,
    "presence_penalty": -0.5,
    "logit_bias": {"5": -100},
    "max_tokens": 9,
    "truncate_prompt_tokens": 5,
    "truncation_side": "left",
    "session_id": "s",
    "use_beam_search": True,
    "length_penalty": 1.5,
    "top_k": 3,
    "min_p": 0.1,
    "repetition_penalty": 1.1,
    "min_tokens": 2,
    "ignore_eos": True,
    "stop_token_ids": [1],
    "allowed_token_ids": [1, 2],
    "bad_words": ["x"],
    "skip_special_tokens": False,
    "spaces_between_special_tokens": False,
    "add_special_tokens": True,
    "include_stop_str_in_output": True,
    "structured_outputs": {"regex": "a+"},
    "response_format": {"type": "json_object"},
    "prompt_logprobs": 1,
    "return_tokens_as_token_ids": True,
    "return_token_ids": True,
    "thinking_token_budget": 100,
    "repetition_detection": {"max_pattern_size": 3, "min_count": 2},
    "stream_interval": 4,
    "watermarking": False,
}
CHAT_TAKEN = TAKEN | {
    "max_completion_tokens": 5,
    "tools": [{"type": "function", "function": {"name": "f", "strict": True}}],
    "parallel_tool_calls": False,
    "logprobs": True,
    "top_logprobs": 2,
    "logprob_token_ids": [4],
    "reasoning_effort": "high",
    "include_reasoning": False,
    "echo": True,
    "chat_template": "{{ messages }}",
    "chat_template_kwargs": {"enable_thinking": True},
    "continue_final_message": False,
    "add_generation_prompt": False,
    "documents": [{"title": "a", "text": "b"}],
    "media_io_kwargs": {"video": {"num_frames": 4}},
    "mm_processor_kwargs": {"a": 1},
    "return_prompt_text": True,
}
COMPLETION_TAKEN = TAKEN | {"echo": True, "logprobs": 2, "logprob_token_ids": [4], "suffix": "z"}
POOLED = {"user": "u", "truncate_prompt_tokens": 5, "truncation_side": "right"}
PAIRED = POOLED | {
    "max_tokens_per_query": 5,
    "max_tokens_per_doc": 6,
    "instruction": "rank",
    "chat_template_kwargs": {"a": 1},
    "use_activation": True,
}
EXAMPLES = {
    Endpoint.CHAT: CHAT_TAKEN,
    Endpoint.COMPLETIONS: COMPLETION_TAKEN,
    Endpoint.EMBEDDINGS: POOLED
    | {
        "dimensions": 4,
        "encoding_format": "base64",
        "add_special_tokens": False,
        "use_activation": False,
        "embed_dtype": "float16",
        "endianness": "little",
    },
    Endpoint.RERANK: PAIRED | {"top_n": 1},
    Endpoint.SCORE: PAIRED,
}
ELSEWHERE = {"stream", "stream_options", "tool_choice", "cache_salt", "mm_processor_kwargs"}
"""Tested where they matter, or (the last) of chat alone: vLLM refuses it of everyone by default."""


@pytest.mark.parametrize("endpoint", Endpoint)
def test_no_parameter_of_vllm_is_overlooked(endpoint):
    spoken_of = {*BODIES[endpoint], *EXAMPLES[endpoint], *INSTEAD, *ELSEWHERE}
    other_names = {"data_1", "data_2", "text_1", "text_2", "items"}
    assert set(KNOWN[endpoint]) - spoken_of - other_names == set()


@pytest.mark.parametrize(
    ("endpoint", "name"), [(each, name) for each in Endpoint for name in EXAMPLES[each]]
)
def test_what_is_taken_reaches_the_node(endpoint, name):
    asked = BODIES[endpoint] | {name: EXAMPLES[endpoint][name]}
    if name in ("top_logprobs", "logprob_token_ids"):
        asked["logprobs"] = True if endpoint is Endpoint.CHAT else 1
    body = json.dumps(asked).encode()
    for is_vllm in (True, False):
        sent = json.loads(for_node(read(endpoint, body), body, served_model="m", is_vllm=is_vllm))
        sent.pop("cache_salt", None)
        assert sent == asked


@pytest.mark.parametrize("name", INSTEAD)
def test_what_is_refused_is_named_with_what_to_do(name):
    with pytest.raises(ApiError) as refused:
        read(Endpoint.CHAT, json.dumps(BODIES[Endpoint.CHAT] | {name: 1}).encode())
    assert (refused.value.param, refused.value.code) == (name, "unknown_parameter")
    assert INSTEAD[name] in refused.value.message


@pytest.mark.parametrize("endpoint", Endpoint)
def test_a_lenient_key_has_unknown_parameters_left_out(endpoint):
    body = json.dumps(
        BODIES[endpoint] | {"priority": -5, "no_such": {"a": 1}, "user": "u"}
    ).encode()
    question = read(endpoint, body, lenient=True)
    sent = json.loads(for_node(question, body, served_model="m", is_vllm=True))
    del sent["cache_salt"]
    assert sent == BODIES[endpoint] | {"user": "u"}


def test_a_lenient_key_is_told_of_everything_else():
    body = json.dumps(BODIES[Endpoint.CHAT] | {"no_such": 1, "temperature": 9}).encode()
    with pytest.raises(ApiError) as refused:
        read(Endpoint.CHAT, body, lenient=True)
    assert refused.value.param == "temperature"


def test_each_account_has_a_salt_of_its_own_which_no_client_can_choose():
    def salt(account: str, served_model: str = "m", **fields: object) -> str:
        body = json.dumps(BODIES[Endpoint.CHAT] | fields).encode()
        question = read(Endpoint.CHAT, body)
        question.account = account
        sent = for_node(question, body, served_model=served_model, is_vllm=True)
        assert sent.count(b"cache_salt") == 1
        return json.loads(sent)["cache_salt"]

    assert salt("acme") == salt("acme", "served", stream=True) == salt("acme", stream=True)
    others = [salt("zeta"), salt("acme", cache_salt="a"), salt("acme", cache_salt=salt("zeta"))]
    assert len({salt("acme"), *others}) == 4
    assert salt("acme", cache_salt="a") == salt("acme", cache_salt="a")


def test_only_a_vllm_is_told_a_salt_that_nobody_asked_for():
    body = json.dumps(BODIES[Endpoint.CHAT]).encode()
    assert b"cache_salt" not in for_node(
        read(Endpoint.CHAT, body), body, served_model="m", is_vllm=False
    )


@pytest.mark.parametrize(
    ("reasoning", "told"),
    [
        ({"effort": "high"}, {"reasoning_effort": "high"}),
        ({"enabled": False}, {"reasoning_effort": "none"}),
        ({"enabled": True}, {"reasoning_effort": "medium"}),
        ({"max_tokens": 500}, {"thinking_token_budget": 500}),
        ({"enabled": True, "max_tokens": 5}, {"thinking_token_budget": 5}),
        (
            {"effort": "low", "exclude": True},
            {"reasoning_effort": "low", "include_reasoning": False},
        ),
        ({"exclude": False, "summary": "auto"}, {}),
    ],
)
def test_openrouters_reasoning_in_vllms_words(reasoning, told):
    body = json.dumps(BODIES[Endpoint.CHAT] | {"reasoning": reasoning}).encode()
    question = read(Endpoint.CHAT, body)
    sent = json.loads(for_node(question, body, served_model="m", is_vllm=False))
    assert sent == BODIES[Endpoint.CHAT] | told


@pytest.mark.parametrize(
    "fields",
    [
        {"reasoning": {"effort": "high", "max_tokens": 5}},
        {"reasoning": {"effort": "high"}, "reasoning_effort": "low"},
        {"reasoning": {"effort": "enormous"}},
        {"reasoning": {"depth": 3}},
    ],
)
def test_reasoning_that_contradicts_itself(fields):
    with pytest.raises(ApiError) as refused:
        read(Endpoint.CHAT, json.dumps(BODIES[Endpoint.CHAT] | fields).encode())
    assert refused.value.param.startswith("reasoning")


def test_pairs_repeat_their_query():
    long = "q" * 1000
    body = json.dumps({"model": "m", "query": long, "documents": ["a"] * 10}).encode()
    question = read(Endpoint.RERANK, body)
    assert question.prompts == 10
    assert question.features(10**6).prompt_tokens > 10 * 1000
    assert question.features(100).prompt_tokens == 1000
    assert question.features(10**6).completion_tokens_max == 0


@pytest.mark.parametrize(
    ("endpoint", "fields", "param"),
    [
        (Endpoint.RERANK, {"query": "a"}, "documents"),
        (Endpoint.RERANK, {"documents": ["a"]}, "query"),
        (Endpoint.RERANK, {"query": "a", "documents": []}, "documents"),
        (Endpoint.SCORE, {"queries": "a"}, "documents"),
        (Endpoint.SCORE, {"documents": "a"}, "queries"),
        (Endpoint.SCORE, {"text_1": ["a", "b"], "text_2": ["c"]}, "text_2"),
        (Endpoint.SCORE, {"data_1": "a", "data_2": [""]}, "data_2"),
    ],
)
def test_pairs_that_are_none(endpoint, fields, param):
    with pytest.raises(ApiError) as refused:
        read(endpoint, json.dumps({"model": "m", **fields}).encode())
    assert refused.value.param == param

"""A refusal says which field is wrong and what would be right, in the words of who asked."""

from __future__ import annotations

import json

import pytest

from gateway.anthropic.schema import messages_request
from gateway.batches.line import LineError, judge
from gateway.errors import ApiError
from gateway.openai.request import Endpoint, read, read_as
from gateway.responses.chat import renamed
from gateway.responses.schema import responses_request

HI = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
LINE = b'{"custom_id":"1","method":"POST","url":"/v1/chat/completions","body":%b}'


def refusal(fields: dict | bytes) -> ApiError:
    sent = fields if isinstance(fields, bytes) else json.dumps(fields).encode()
    with pytest.raises(ApiError) as caught:
        read(Endpoint.CHAT, sent)
    return caught.value


@pytest.mark.parametrize(
    ("fields", "param", "given", "allowed"),
    [
        ({"messages": [{"role": "bot"}]}, "messages[0].role", "'bot'", ["'developer'", "'tool'"]),
        ({"reasoning_effort": "most"}, "reasoning_effort", "'most'", ["'minimal'", "'xhigh'"]),
        ({"response_format": {"type": "xml"}}, "response_format.type", "'xml'", ["'json_schema'"]),
        ({"provider": {"sort": "fast"}}, "provider.sort", "'fast'", ["'latency'", "'price'"]),
        ({"modalities": ["audio"]}, "modalities[0]", "'audio'", ["'text'"]),
    ],
)
def test_what_would_be_right_is_told(fields, param, given, allowed):
    error = refusal({**HI, **fields})
    assert (error.param, error.code) == (param, "invalid_value")
    assert error.message.startswith(f"Invalid value for '{param}': {given}. Supported values are:")
    assert all(each in error.message for each in allowed)


def test_the_kinds_of_a_part_are_told():
    turn = {"role": "user", "content": [{"type": "sound"}]}
    with pytest.raises(ApiError) as caught:
        read_as(messages_request, json.dumps({**HI, "max_tokens": 1, "messages": [turn]}).encode())
    error = caught.value
    assert (error.param, error.code) == ("messages[0].content[0].type", "invalid_value")
    assert "'sound'. Supported values are: 'text', 'image'," in error.message


def test_a_name_in_an_object_is_told_by_the_object():
    sent = json.dumps({"model": "m", "input": "x", "metadata": {"k" * 65: "v"}}).encode()
    with pytest.raises(ApiError) as caught:
        read_as(responses_request, sent)
    assert (caught.value.param, caught.value.code) == ("metadata", "invalid_value")


@pytest.mark.parametrize("name", ["two\nlines", "x" * 5000])
def test_an_unknown_field_is_named_however_it_is_spelt(name):
    error = refusal({**HI, name: 1})
    assert (error.param, error.code) == (name[:100], "unknown_parameter")
    assert len(error.message) < 200


def test_deep_nesting_is_called_that():
    deep = b'{"a":' * 5000 + b"1" + b"}" * 5000
    sent = b'{"model":"m","messages":[{"role":"user","content":"x"}],"prediction":%b}' % deep
    error = refusal(sent)
    assert error.code == "invalid_json"
    assert "nested too deeply" in error.message


def test_anthropics_stop_sequences_are_called_that():
    sent = json.dumps({**HI, "max_tokens": 1, "stop_sequences": ["a"] * 5}).encode()
    with pytest.raises(ApiError) as caught:
        read_as(messages_request, sent)
    assert caught.value.param == "stop_sequences"


def test_a_chats_field_is_told_as_the_responses_field():
    told = renamed("Please reduce 'max_completion_tokens'.", "max_completion_tokens")
    assert told == ("Please reduce 'max_output_tokens'.", "max_output_tokens")
    assert renamed("'n' is wrong.", "n") == ("'n' is wrong.", "n")


@pytest.mark.parametrize(
    ("raw", "code", "param"),
    [
        (LINE % b'{"model":"m\xff"}', "invalid_json_line", None),
        (LINE % b'{"model":"m","messages":"\xff"}', "invalid_json_line", None),
        (LINE % (b'{"a":' * 5000 + b"1" + b"}" * 5000), "invalid_json_line", None),
        (LINE % b"{}", "invalid_request_body", "body.model"),
        (LINE % b"null", "invalid_request_body", "body"),
        (b'{"method":"POST"}', "invalid_request_line", "custom_id"),
    ],
)
def test_a_batchs_line_is_refused_by_field(raw, code, param):
    with pytest.raises(LineError) as caught:
        judge(raw, "/v1/chat/completions")
    assert (caught.value.code, caught.value.param) == (code, param)

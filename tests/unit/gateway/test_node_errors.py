"""Every refusal captured from a real vLLM, told as OpenAI's error object."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gateway.openai.node_errors import translate

CAPTURED = sorted((Path(__file__).parents[2] / "golden" / "vllm-0.32").glob("error-*.400.json"))


def test_there_are_captures():
    assert len(CAPTURED) > 10


@pytest.mark.parametrize("path", CAPTURED, ids=lambda path: path.name)
def test_translated(path):
    error = translate(400, path.read_bytes(), prompt_param="messages")
    told = json.loads(error.body())["error"]
    assert error.status == 400
    assert told["type"] == "invalid_request_error"
    assert told["code"] is None or isinstance(told["code"], str)
    assert "(parameter=" not in told["message"]
    assert not (told["param"] or "").startswith("body")


@pytest.mark.parametrize(
    ("name", "param"),
    [
        ("error-context-too-long-chat.400.json", "messages"),
        ("error-max-tokens-too-big.400.json", "max_tokens"),
    ],
)
def test_context_errors_have_openais_code_and_field(name, param):
    (path,) = [path for path in CAPTURED if path.name == name]
    error = translate(400, path.read_bytes(), prompt_param="messages")
    assert (error.code, error.param) == ("context_length_exceeded", param)


@pytest.mark.parametrize(
    ("message", "param"),
    [
        ("n must be 1 when using greedy sampling, got 2.", "n"),
        ("structured_outputs.grammar cannot be an empty string", "structured_outputs.grammar"),
        ("The prompt must be shorter", None),
    ],
)
def test_a_field_that_only_the_message_names_is_the_param(message, param):
    body = json.dumps({"error": {"message": message, "type": "BadRequestError", "code": 400}})
    assert translate(400, body.encode(), prompt_param="messages").param == param


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b'{"error":"Unauthorized"}',
        b'{"detail":[]}',
        b'{"error":{"message":"\xff"}}',
        b'{"error":{"message":"(parameter=x)"}}',
        b'{"detail":' + b"[" * 100_000,
    ],
    ids=range(7),
)
def test_unreadable_refusals_still_say_something(body):
    error = translate(422, body, prompt_param="messages")
    assert error.status == 400
    assert error.message

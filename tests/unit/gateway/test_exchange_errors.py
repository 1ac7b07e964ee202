"""What a client is told when a node refuses or fails, and what of a whole answer it is told."""

from __future__ import annotations

import json

import pytest
from exchange_play import ANSWER, Play, event

from gateway.exchange.actions import Dial, Respond
from metering.charge import ChargeOutcome

FAULT = (
    b'data: {"error":{"message":"grammar is bad","type":"BadRequestError",'
    b'"param":"structured_outputs","code":400}}\n\n'
)


def test_clients_fault_told_in_a_stream_is_a_plain_refusal_if_nothing_was_sent():
    play = Play().opened().head().body(FAULT).closed()
    (respond,) = play.of(Respond)
    error = json.loads(respond.body)["error"]
    assert (respond.status, error["param"]) == (400, "structured_outputs")
    assert error["type"] == "invalid_request_error"
    assert len(play.of(Dial)) == 1
    assert play.close.outcome is ChargeOutcome.REFUSED_BY_NODE
    assert play.close.usage is None


def test_clients_fault_told_in_a_stream_that_began_is_told_there():
    play = Play().opened().head().body(event("a", 1), FAULT).closed()
    told = json.loads(play.sent.split(b"data: ")[-1])
    assert told["object"] == "chat.completion.chunk"
    assert {"id", "created", "model"} < set(told)
    (choice,) = told["choices"]
    assert choice["finish_reason"] == "error"
    assert told["error"]["code"] == 400
    assert told["error"]["metadata"]["error_type"] == "invalid_request"
    assert play.close.outcome is ChargeOutcome.REFUSED_BY_NODE
    assert play.close.usage is None


@pytest.mark.parametrize(
    ("status", "body", "told", "code"),
    [
        (
            404,
            b'{"error":{"message":"The model `m` does not exist. Valid aliases: secret.",'
            b'"type":"NotFoundError","param":"model","code":404}}',
            404,
            "model_not_found",
        ),
        (404, b'{"detail":"Not Found"}', 400, "unsupported_endpoint"),
        (501, b'{"error":{"message":"The model does not support Score API"}}', 400, None),
        (404, b"<html>", 500, "upstream_error"),
        (401, b'{"error":"Unauthorized"}', 500, "upstream_error"),
    ],
)
def test_what_no_node_serves_is_said_without_the_nodes_words(status, body, told, code):
    play = Play().opened()
    for _ in range(2):
        play.head(status).body(body).node_end()
    play.closed()
    (respond,) = play.of(Respond)
    error = json.loads(respond.body)["error"]
    assert respond.status == told
    assert code in (None, error["code"])
    assert "secret" not in error["message"]
    assert play.close.usage is None


def test_how_long_it_took_is_told():
    play = Play(stream=False).opened().head().body(ANSWER).node_end().closed()
    (respond,) = play.of(Respond)
    headers = dict(respond.headers)
    assert headers[b"openai-processing-ms"].isdigit()


def test_nulls_that_openai_never_sends_are_left_out():
    text = '{"a":1,"annotations":null,"function_call":null}'
    message = {"content": text, "annotations": None, "function_call": None}
    usage = {"prompt_tokens": 7, "completion_tokens": 2, "completion_tokens_details": None}
    sent = {"choices": [{"message": message}], "usage": usage}
    answer = json.dumps(sent, separators=(",", ":")).encode()
    play = Play(stream=False).opened().head().body(answer).node_end().closed()
    (respond,) = play.of(Respond)
    told = json.loads(respond.body)
    assert told["choices"][0]["message"] == {"content": text}
    assert told["usage"] == {"prompt_tokens": 7, "completion_tokens": 2}

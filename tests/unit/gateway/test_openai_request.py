"""What a client may send: judged with the field at fault named, and made ready for a node."""

from __future__ import annotations

import json

import pytest

from gateway.errors import ApiError
from gateway.openai.node_body import for_node
from gateway.openai.request import TEMPLATE_TOKENS, Endpoint, read

HI = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
CHAT, COMPLETIONS, EMBEDDINGS = Endpoint.CHAT, Endpoint.COMPLETIONS, Endpoint.EMBEDDINGS


def body(**fields) -> bytes:
    return json.dumps(fields).encode()


REFUSED = [
    # endpoint, body, param, code
    (CHAT, b"", None, "invalid_json"),
    (CHAT, b"{", None, "invalid_json"),
    (CHAT, b"not json", None, "invalid_json"),
    (CHAT, b'{"model":"m","temperature":NaN}', None, "invalid_json"),
    (CHAT, b'{"model":"m","messages":[{"role":"user","content":"\xff"}]}', None, "invalid_json"),
    (CHAT, b"[]", None, None),
    (CHAT, b"null", None, None),
    (CHAT, body(messages=HI["messages"]), "model", "missing_required_parameter"),
    (CHAT, body(model=7, messages=[]), "model", "invalid_type"),
    (CHAT, body(model="m"), "messages", "missing_required_parameter"),
    (CHAT, body(model="m", messages=[]), "messages", "missing_required_parameter"),
    (CHAT, body(model="m", messages="hi"), "messages", "invalid_type"),
    (CHAT, body(model="m", messages=[{"role": "boss", "content": "x"}]), "messages[].role", None),
    (CHAT, body(model="m", messages=[{"role": "user"}]), "messages[0].content", None),
    (CHAT, body(model="m", messages=[{"role": "user", "content": 5}]), "messages[].content", None),
    (CHAT, body(model="m", messages=[{"role": "tool", "content": "x"}]), None, None),
    (CHAT, body(**HI, frobnicate=1), "frobnicate", "unknown_parameter"),
    (CHAT, body(**HI, priority=-5), "priority", "unknown_parameter"),
    (CHAT, body(**HI, kv_transfer_params={}), "kv_transfer_params", "unknown_parameter"),
    (CHAT, body(**HI, max_tokens="7"), "max_tokens", "invalid_type"),
    (CHAT, body(**HI, max_tokens=0), "max_tokens", "integer_out_of_range"),
    (CHAT, body(**HI, max_tokens=-1), "max_tokens", "integer_out_of_range"),
    (CHAT, body(**HI, max_tokens=10**30), "max_tokens", None),
    (CHAT, body(**HI, n=0), "n", "integer_out_of_range"),
    (CHAT, body(**HI, n=1000), "n", "integer_out_of_range"),
    (CHAT, body(**HI, temperature=2.5), "temperature", "decimal_out_of_range"),
    (CHAT, body(**HI, top_p=0), "top_p", None),
    (CHAT, body(**HI, stream="yes"), "stream", "invalid_type"),
    (CHAT, body(**HI, stream_options={"include_usage": True}), "stream_options", None),
    (CHAT, body(**HI, stop=["a"] * 17), "stop", None),
    (CHAT, body(**HI, top_logprobs=3), "top_logprobs", None),
    (CHAT, body(**HI, tool_choice="auto"), "tool_choice", None),
    (CHAT, body(**HI, tools=[{"type": "function"}]), None, "missing_required_parameter"),
    (CHAT, body(**HI, response_format={"type": "xml"}), "response_format.type", "invalid_value"),
    (COMPLETIONS, body(model="m"), "prompt", "missing_required_parameter"),
    (COMPLETIONS, body(model="m", prompt=[]), "prompt", None),
    (COMPLETIONS, body(model="m", prompt=[[]]), "prompt", None),
    (COMPLETIONS, body(model="m", prompt=["a", 1]), "prompt", None),
    (COMPLETIONS, body(model="m", prompt=None), "prompt", "invalid_type"),
    (COMPLETIONS, body(model="m", prompt=["a"] * 3000), "prompt", None),
    (EMBEDDINGS, body(model="m"), "input", "missing_required_parameter"),
    (EMBEDDINGS, body(model="m", input=""), None, None),
    (EMBEDDINGS, body(model="m", input="x", encoding_format="hex"), "encoding_format", None),
    (EMBEDDINGS, body(model="m", input="x", dimensions=0), "dimensions", None),
]


@pytest.mark.parametrize(("endpoint", "sent", "param", "code"), REFUSED)
def test_refused(endpoint, sent, param, code):
    with pytest.raises(ApiError) as caught:
        read(endpoint, sent)
    error = caught.value
    assert error.status == 400
    told = json.loads(error.body())["error"]
    assert set(told) == {"message", "type", "param", "code"}
    assert told["message"]
    if param is not None:
        assert told["param"].replace("[0]", "[]") == param.replace("[0]", "[]")
    if code is not None:
        assert told["code"] == code


ACCEPTED = [
    (CHAT, body(**HI)),
    (CHAT, body(**HI, max_completion_tokens=5, seed=-1, stop="x", logit_bias={"5": -100})),
    (CHAT, body(**HI, top_k=5, min_p=0.1, ignore_eos=True, structured_outputs={"choice": ["a"]})),
    (CHAT, body(**HI, logprobs=True, top_logprobs=2, user="u", store=False, metadata={"a": "b"})),
    (
        CHAT,
        body(model="m", messages=[{"role": "user", "content": [{"type": "text", "text": "x"}]}]),
    ),
    (
        CHAT,
        body(
            **HI,
            tools=[{"type": "function", "function": {"name": "f", "parameters": {}}}],
            tool_choice={"type": "function", "function": {"name": "f"}},
        ),
    ),
    (COMPLETIONS, body(model="m", prompt=[1, 2, 3], echo=True, logprobs=1)),
    (COMPLETIONS, body(model="m", prompt="x", stream=True)),
    (EMBEDDINGS, body(model="m", input=[[1], [2]], encoding_format="base64")),
]


@pytest.mark.parametrize(("endpoint", "sent"), ACCEPTED)
def test_accepted(endpoint, sent):
    assert read(endpoint, sent).model == "m"


def test_bounds_are_never_below_the_truth():
    question = read(COMPLETIONS, body(model="m", prompt=["ab", "cd"], n=3, max_tokens=10))
    assert (question.prompts, question.choices) == (2, 6)
    assert question.features(4096).completion_tokens_max == 60
    assert question.features(4096).prompt_tokens >= 4
    assert question.features(10).prompt_tokens == 20
    chat = read(CHAT, body(**HI))
    assert chat.features(4096).completion_tokens_max == 4096
    assert chat.features(4096).prompt_tokens == len(body(**HI)) + TEMPLATE_TOKENS


def test_media_may_fill_the_context():
    image = {"type": "image_url", "image_url": {"url": "http://x/y.png"}}
    question = read(CHAT, body(model="m", messages=[{"role": "user", "content": [image]}]))
    assert question.features(4096).prompt_tokens == 4096


def test_node_gets_one_value_per_key_and_our_usage_options():
    sent = (
        b'{"model":"alias","stream":true,"stream_options":{"include_usage":false},'
        b'"messages":[{"role":"user","content":"h\\u00e9"}],"max_tokens":1,"max_tokens":2}'
    )
    question = read(CHAT, sent)
    assert question.completion_tokens_max == 2
    out = for_node(question, sent, served_model="real", is_vllm=True)
    assert out.count(b"max_tokens") == 1
    fields = json.loads(out)
    assert fields["model"] == "real"
    assert fields["max_tokens"] == 2
    assert fields["stream_options"] == {"include_usage": True, "continuous_usage_stats": True}
    assert b'"h\\u00e9"' in out


def test_an_unstreamed_request_gains_a_salt_and_no_options():
    question = read(CHAT, body(**HI))
    out = json.loads(for_node(question, body(**HI), served_model="m", is_vllm=True))
    assert len(out.pop("cache_salt")) == 43
    assert out == HI


def test_nesting_that_was_accepted_can_be_written_for_any_node():
    """However much further down the stack that happens, within reason."""

    def write(frames: int) -> bytes:
        if frames:
            return write(frames - 1)
        return for_node(question, body, served_model="other", is_vllm=False)

    for depth in range(500, 1100):
        nested = b'{"a":%b}' % (b"[" * depth + b"]" * depth)
        body = (
            b'{"model":"m","messages":[{"role":"user","content":"x"}],"chat_template_kwargs":%b}'
            % nested
        )
        try:
            question = read(Endpoint.CHAT, body)
        except ApiError as refused:
            error = refused
            break
        assert nested in write(40)
    assert error.code == "invalid_json"


def test_a_key_that_is_no_utf8_is_refused_wherever_it_is():
    tool = b'{"type":"function","function":{"name":"f","\xff":1}}'
    asked = b'{"model":"m","messages":[{"role":"user","content":"x"}],"tools":[%b]}' % tool
    with pytest.raises(ApiError) as refused:
        read(CHAT, asked)
    assert refused.value.code == "invalid_json"

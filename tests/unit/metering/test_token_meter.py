"""Token ids taken out of events: kept as they came, never shown, under any chunking."""

from __future__ import annotations

import json

import pytest

from metering.stream_meter import MalformedStreamError
from metering.token_meter import TokenMeter
from metering.usage import Usage

GOLDEN = "tests/golden/vllm-0.32/{}.200.sse"


def meter(**options) -> TokenMeter:
    return TokenMeter(keep_closing=False, **options)


def golden(name: str) -> bytes:
    with open(GOLDEN.format(name), "rb") as file:
        return file.read()


@pytest.mark.parametrize("name", ["chat-stream-token-ids", "completion-stream-token-ids"])
@pytest.mark.parametrize("size", [1, 7, 10**6])
@pytest.mark.parametrize("running", [False, True])
def test_ids_of_a_real_vllm_are_kept_and_not_shown(name, size, running):
    stream, fed = golden(name), meter(keep_running=running)
    passed = b"".join(fed.feed(stream[at : at + size]) for at in range(0, len(stream), size))
    told = [json.loads(line[6:]) for line in passed.split(b"\n\n") if line]
    assert passed.count(b'token_ids":[') == 0
    for event in told:
        assert event.get("prompt_token_ids") is None
        assert [choice.get("token_ids") for choice in event["choices"]] == [None]
        assert ("usage" in event) == running
    asked = [json.loads(line[6:]) for line in stream.split(b"\n\n") if line.startswith(b"data: {")]
    first = asked[0].get("prompt_token_ids") or asked[0]["choices"][0]["prompt_token_ids"]
    assert json.loads(b"[%b]" % fed.prompt_ids) == first
    ids = [c["token_ids"] for e in asked for c in e["choices"] if c.get("token_ids")]
    assert [json.loads(b"[%b]" % part) for part in bytes(fed.ids).split(b"]")[:-1]] == ids
    assert len(fed.recent) == len(ids)
    assert fed.closing == Usage(prompt_tokens=len(first), completion_tokens=sum(map(len, ids)))


def test_a_text_that_looks_like_ids_is_left_alone():
    text = '"token_ids":[1,2],"prompt_token_ids":[3]'
    event = {"choices": [{"index": 0, "delta": {"content": text}, "token_ids": [7, 8]}]}
    data = b"data: " + json.dumps(event, separators=(",", ":")).encode() + b"\n\n"
    fed = meter()
    (choice,) = json.loads(fed.feed(data)[6:])["choices"]
    assert choice["delta"]["content"] == text
    assert choice["token_ids"] is None
    assert (bytes(fed.ids), fed.prompt_ids) == (b"7,8]", b"")


@pytest.mark.parametrize("name", [b"token_ids", b"prompt_token_ids"])
def test_ids_without_an_end_are_no_stream(name):
    with pytest.raises(MalformedStreamError):
        meter().feed(b'data: {"choices":[{"%b":[1,2\n\n' % name)

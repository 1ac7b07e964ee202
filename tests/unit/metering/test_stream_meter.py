"""The stream meter: exact counts, and nothing the client did not ask for, under any chunking."""

from __future__ import annotations

import json
import random

import pytest

from metering.stream_meter import MalformedStreamError, StreamMeter, text_of_answer, usage_of_answer
from metering.usage import Usage

ROLE = (
    b'data: {"id":"c","choices":[{"index":0,"delta":{"role":"assistant","content":""},'
    b'"finish_reason":null}]%s,"prompt_token_ids":null,"prompt_text":null}\n\n'
)
CLOSING = (
    b'data: {"id":"c","choices":[],"usage":{"prompt_tokens":13,"total_tokens":16,'
    b'"completion_tokens":3,"prompt_tokens_details":{"cached_tokens":8,"created_cache_tokens":0}}}\n\n'
)
DONE = b"data: [DONE]\n\n"


def usage(completion: int) -> bytes:
    return b',"usage":{"prompt_tokens":13,"total_tokens":%d,"completion_tokens":%d}' % (
        13 + completion,
        completion,
    )


def delta(text: str, completion: int | None, index: int = 0) -> bytes:
    figures = b"" if completion is None else usage(completion)
    return b'data: {"id":"c","choices":[{"index":%d,"delta":{"content":%b}}]%b}\n\n' % (
        index,
        json.dumps(text).encode(),
        figures,
    )


STREAM = [ROLE % usage(0), delta("a", 1), delta(' "b",\n', 2), delta("c", 3), CLOSING, DONE]
PLAIN = b"".join([ROLE % b"", delta("a", None), delta(' "b",\n', None), delta("c", None)])


def feed_all(meter: StreamMeter, chunks: list[bytes]) -> bytes:
    return b"".join(meter.feed(chunk) for chunk in chunks)


def random_chunks(data: bytes, seed: int) -> list[bytes]:
    rng = random.Random(seed)
    cuts = sorted(rng.sample(range(1, len(data)), min(len(data) - 1, rng.randint(1, 40))))
    return [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]


CHUNKINGS = {
    "whole": lambda data: [data],
    "events": lambda _: STREAM,
    "bytes": lambda data: [bytes([byte]) for byte in data],
    **{f"random-{seed}": lambda data, seed=seed: random_chunks(data, seed) for seed in range(20)},
}


@pytest.mark.parametrize("chunking", CHUNKINGS.values(), ids=CHUNKINGS.keys())
def test_cuts_running_usage_and_closing_event_under_any_chunking(chunking):
    meter = StreamMeter(keep_closing=False)
    passed = feed_all(meter, chunking(b"".join(STREAM)))
    assert passed == PLAIN
    assert meter.done
    assert meter.events == 4
    expected = Usage(prompt_tokens=13, completion_tokens=3, cached_tokens=8)
    assert meter.closing == expected


def test_client_that_asked_for_usage_gets_the_closing_event():
    meter = StreamMeter(keep_closing=True)
    closing = CLOSING.replace(b"created_cache_tokens", b"cache_write_tokens")
    assert feed_all(meter, STREAM) == PLAIN + closing
    meter = StreamMeter(keep_closing=True)
    null = CLOSING.replace(b'"created_cache_tokens":0', b'"created_cache_tokens":null')
    told = feed_all(meter, [*STREAM[:-2], null, STREAM[-1]])
    assert told.endswith(b'"prompt_tokens_details":{"cached_tokens":8}}}\n\n')


def test_client_that_asked_for_running_usage_gets_every_byte():
    meter = StreamMeter(keep_closing=True, keep_running=True)
    assert feed_all(meter, STREAM) == b"".join(STREAM[:-1])


def test_cut_stream_has_the_last_running_figure():
    meter = StreamMeter(keep_closing=False)
    feed_all(meter, STREAM[:3])
    assert meter.closing is None
    assert meter.running == Usage(prompt_tokens=13, completion_tokens=2)


def test_running_figures_are_per_choice_and_add_up():
    meter = StreamMeter(keep_closing=False, choices=2, choices_per_prompt=2)
    events = [delta("a", 1, 0), delta("b", 1, 1), delta("c", 2, 0), delta("d", 5, 1)]
    passed = feed_all(meter, events)
    assert meter.running == Usage(prompt_tokens=13, completion_tokens=7)
    assert b"usage" not in passed


def test_each_prompt_counts_its_own_tokens():
    meter = StreamMeter(keep_closing=False, choices=4, choices_per_prompt=2)
    feed_all(meter, [delta("a", 1, 0), delta("b", 1, 1), delta("c", 2, 3)])
    assert meter.running == Usage(prompt_tokens=26, completion_tokens=4)


def test_usage_in_the_text_is_not_usage():
    text = 'he said ,"usage":{"prompt_tokens":1,"completion_tokens":999} and "choices":[]'
    meter = StreamMeter(keep_closing=False)
    passed = meter.feed(delta(text, 4))
    assert passed == delta(text, None)
    assert meter.running == Usage(prompt_tokens=13, completion_tokens=4)
    assert meter.closing is None


def test_other_servers_spacing_takes_the_general_path():
    event = b'data: {"choices": [{"index": 0, "delta": {"content": "x"}}], "usage": null}\n\n'
    closing = b'data: {"choices": [], "usage": {"prompt_tokens": 2, "completion_tokens": 1}}\n\n'
    meter = StreamMeter(keep_closing=False)
    passed = feed_all(meter, [event, closing, DONE])
    assert b"usage" not in passed
    assert b'"content"' in passed
    assert meter.closing == Usage(prompt_tokens=2, completion_tokens=1)


def test_carriage_returns_and_comments_are_understood():
    data = (b": keep-alive\n\n" + delta("a", 1) + DONE).replace(b"\n", b"\r\n")
    for chunks in ([data], [bytes([byte]) for byte in data]):
        meter = StreamMeter(keep_closing=False)
        assert feed_all(meter, chunks) == b": keep-alive\n\n" + delta("a", None)
        assert meter.done


def test_error_event_is_kept_back_and_ends_the_stream():
    meter = StreamMeter(keep_closing=False)
    error = b'data: {"error":{"message":"engine died","code":500}}\n\n'
    assert feed_all(meter, [delta("a", 1), error, DONE]) == delta("a", None)
    assert meter.error is not None
    assert b"engine died" in meter.error
    assert not meter.done


def test_tallies_text_of_a_node_without_running_usage():
    meter = StreamMeter(keep_closing=False, tally_text=True)
    feed_all(meter, [delta("Hello", None), delta(", you", None)])
    assert "".join(meter.text) == "Hello, you"
    assert meter.running is None


def test_zero_is_a_figure_and_absence_is_none():
    meter = StreamMeter(keep_closing=False)
    meter.feed(b'data: {"choices":[],"usage":{"prompt_tokens":0,"completion_tokens":0}}\n\n')
    assert meter.closing == Usage(prompt_tokens=0, completion_tokens=0)
    assert StreamMeter(keep_closing=False).closing is None


@pytest.mark.parametrize(
    "garbage",
    [
        b'data: {"choices":[],"usage":{"prompt_tokens":-1,"completion_tokens":0}}\n\n',
        b'data: {"choices":[],"usage":{"prompt_tokens":"many"}}\n\n',
        b'data: {"choices":[],"usage":{"prompt_tokens":99999999999999999999}}\n\n',
        b'data: nonsense "usage"\n\n',
        b'data: {"choices":[{"delta":{"content":"\xff"}}],"usage":{"x":{},"y":1}}\n\n',
        b'data: {"\xff":1,"choices":[{}],"usage":{"prompt_tokens":5,"x":{},"y":1}}\n\n',
        b'data: {"error":' + b"[" * 100_000 + b"\n\n",
        b'data: {"choices":[{"index":1}],"usage":{"prompt_tokens":5,"x":{},"y":1}}\n\n',
        b'data: {"choices":[{"index":-1}],"usage":{"prompt_tokens":5,"x":{},"y":1}}\n\n',
        b'data: {"choices":[{"delta":{}}],"usage":{"prompt_tokens":5\n\n',
        b"x" * (1024 * 1024 + 1),
    ],
)
def test_garbage_is_refused(garbage):
    with pytest.raises(MalformedStreamError):
        StreamMeter(keep_closing=False).feed(garbage)


@pytest.mark.parametrize("figure", ['{"prompt_tokens":-1}', '{"prompt_tokens":5e99}', "{}"])
def test_running_figure_without_sense_counts_nothing(figure):
    meter = StreamMeter(keep_closing=False)
    meter.feed(b'data: {"choices":[{"delta":{}}],"usage":%b}\n\n' % figure.encode())
    assert meter.running is None


@pytest.mark.parametrize("lines", [b"\n", b"\n\n\n", b"\r\n"])
def test_empty_lines_between_events_hide_no_end(lines):
    meter = StreamMeter(keep_closing=False)
    first = b'data: {"choices":[{"delta":{}}]}\n\n'
    assert meter.feed(first + lines + b"data: [DONE]\n\n") == first
    assert meter.done


def test_whole_answers():
    body = (
        b'{"choices":[{"message":{"content":"Hi","reasoning":"hm "}}],'
        b'"usage":{"prompt_tokens":5,"completion_tokens":2,"prompt_tokens_details":null}}'
    )
    assert usage_of_answer(body) == Usage(prompt_tokens=5, completion_tokens=2)
    assert text_of_answer(body) == "hm Hi"
    assert usage_of_answer(b'{"choices":[]}') is None
    for garbage in (b"<html>", b'{"choices":[{"text":"\xff"}]}', b'{"x":' + b"[" * 100_000):
        with pytest.raises(MalformedStreamError):
            usage_of_answer(garbage)

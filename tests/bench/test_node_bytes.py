"""The mock node says what vLLM says, as the gateway's own meter reads it."""

from __future__ import annotations

import json

import pytest
from bench.node_bytes import PROMPT, WHOLE_TOKENS, frames, whole
from bench.shape import Shape, tokens_of

from metering.stream_meter import StreamMeter, usage_of_answer


@pytest.mark.parametrize("events", [2, 3, 128])
def test_a_stream_is_metered_to_the_tokens_of_its_shape(events):
    meter = StreamMeter(keep_closing=False)
    for number, event in enumerate(_bodies(frames(events, running=True, closing=True)), start=1):
        meter.feed(event)
        if number < events:
            assert meter.running.completion_tokens == tokens_of(number)
    assert meter.done
    assert meter.closing.completion_tokens == Shape(events=events).tokens == events - 1
    assert meter.closing.prompt_tokens == len(PROMPT)


def test_without_usage_asked_for_no_event_carries_it():
    assert b"usage" not in b"".join(frames(5, running=False, closing=False))


def test_an_event_is_as_large_as_those_that_the_figures_are_told_for():
    sizes = [len(body) for body in _bodies(frames(100, running=False, closing=False))]
    assert 190 <= sum(sizes) / len(sizes) <= 260


def test_a_whole_answer_reports_its_tokens():
    head, _, body = whole().partition(b"\r\n\r\n")
    assert f"content-length: {len(body)}".encode() in head
    usage = usage_of_answer(body)
    assert usage is not None
    assert (usage.prompt_tokens, usage.completion_tokens) == (len(PROMPT), WHOLE_TOKENS)


@pytest.mark.parametrize(
    "shape",
    [Shape(events=128), Shape(events=64, apart_ms=2.5), Shape(events=2, then_silence=True)],
)
def test_a_shape_survives_the_prompt_that_carries_it(shape):
    assert Shape.read(json.dumps({"content": f"Say it {shape.words()}."}).encode()) == shape


def test_a_prompt_without_a_shape_is_no_stream():
    with pytest.raises(ValueError, match="names no shape"):
        Shape.read(b"Say it.")


def _bodies(written: tuple[bytes, ...]) -> list[bytes]:
    """What each write holds, unchunked and without the head."""
    bodies = []
    for data in written:
        left, body = data.partition(b"\r\n\r\n")[2] if data.startswith(b"HTTP") else data, b""
        while left:
            size, _, left = left.partition(b"\r\n")
            body, left = body + left[: int(size, 16)], left[int(size, 16) + 2 :]
        bodies.append(body)
    return bodies

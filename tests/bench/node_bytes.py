"""What the mock node writes, made ahead: vLLM 0.32's answers, by the code that the fakes use. Pure.

A stream of n events is a role, n - 2 words and an end; the end is a token too. With running usage
asked for, every event carries it, as vLLM does.
"""

from __future__ import annotations

from functools import lru_cache

import msgspec

from serving import vllm_wire
from serving.simulated_engine import Choice, Token
from serving.vllm_wire import Answer, Usage

MODEL = "mock"
PROMPT = list(range(100, 112))
WHOLE_TOKENS = 140
"""Completion tokens of an answer that is not streamed, about 1 KB."""

_TEXT = "a fox may run over some dogs by day and then sleep by night in its den until it is hungry"
_WORDS = _TEXT.split()
_SERVED = b"server: mock\r\n"
_STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\n" + _SERVED + b"content-type: text/event-stream; charset=utf-8\r\n"
    b"transfer-encoding: chunked\r\n\r\n"
)


def response(body: bytes, *, status: bytes = b"200 OK", kind: bytes = b"application/json") -> bytes:
    return b"HTTP/1.1 %b\r\n%bcontent-type: %b\r\ncontent-length: %d\r\n\r\n%b" % (
        status, _SERVED, kind, len(body), body,
    )  # fmt: skip


def whole() -> bytes:
    """A chat answer in one piece."""
    words = [Token(id=300 + i, text=f" {_WORDS[i % len(_WORDS)]}") for i in range(WHOLE_TOKENS)]
    choice = Choice(tokens=tuple(words), finish_reason="stop")
    usage = Usage(prompt=len(PROMPT), completion=WHOLE_TOKENS)
    return response(msgspec.json.encode(_answer(closing=False).whole([choice], [PROMPT], usage)))


@lru_cache(64)
def frames(events: int, *, running: bool, closing: bool) -> tuple[bytes, ...]:
    """One write for each event. The response's head goes with the first; with the last goes what
    ends a stream. `running`: usage on each event; `closing`: an event with the total at the end.
    """
    assert events >= 2, "a stream has a beginning and an end"
    answer = _answer(closing=closing)

    def usage(tokens: int) -> vllm_wire.Json | None:
        counts = Usage(prompt=len(PROMPT), completion=tokens)
        return counts.running(chat=True) if running else None

    ended = Choice(tokens=(), finish_reason="stop")
    messages = [
        answer.opening(0, PROMPT, usage(0)),
        *(
            answer.part(0, f" {_WORDS[i % len(_WORDS)]}", [300 + i], None, usage(i))
            for i in range(1, events - 1)
        ),
        answer.part(0, "", [2], ended, usage(events - 1)),
    ]
    written = [_chunk(vllm_wire.event(message)) for message in messages]
    if closing:
        total = Usage(prompt=len(PROMPT), completion=events - 1).closing(chat=True)
        written[-1] += _chunk(vllm_wire.event(answer.closing(total)))
    written[0] = _STREAM_HEAD + written[0]
    written[-1] += _chunk(vllm_wire.DONE) + b"0\r\n\r\n"
    return tuple(written)


def _answer(*, closing: bool) -> Answer:
    return Answer(
        id="chatcmpl-0123456789abcdef0123456789abcdef",
        created=1_700_000_000,
        model=MODEL,
        chat=True,
        closes_with_usage=closing,
    )


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)

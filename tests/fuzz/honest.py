"""What a good node answers, as vLLM puts it on the wire."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

from serving import vllm_wire
from serving.simulated_engine import Choice, Token

Json = dict[str, Any]


def chunk(data: bytes, extension: bytes = b"") -> bytes:
    return b"%x%b\r\n%b\r\n" % (len(data), extension, data)


def framed(body: bytes, *, status: bytes = b"200 OK", kind: bytes = b"application/json") -> bytes:
    """An answer of known length."""
    return b"HTTP/1.1 %b\r\ncontent-type: %b\r\ncontent-length: %d\r\n\r\n%b" % (
        status, kind, len(body), body,
    )  # fmt: skip


def streamed(events: list[bytes]) -> bytes:
    """A stream in chunks, one an event."""
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n"
    return head + b"\r\n" + b"".join(chunk(event) for event in events) + b"0\r\n\r\n"


def honest_answer(request: bytes) -> bytes:
    """To a request as the gateway writes it."""
    head, _, body = request.partition(b"\r\n\r\n")
    path = head.split(b" ", 2)[1]
    asked = json.loads(body)
    if path.endswith(b"/embeddings"):
        inputs = asked["input"]
        count = len(inputs) if isinstance(inputs, list) else 1
        return _embeddings(count)
    chat = path.endswith(b"/chat/completions")
    options = asked.get("stream_options") or {}
    choices = (asked.get("n") or 1) * _prompts(asked.get("prompt"))
    if asked.get("stream"):
        running = bool(options.get("continuous_usage_stats"))
        return streamed([*events(chat, choices, 3, running=running)])
    return _whole(chat, choices)


def _prompts(prompt: object) -> int:
    if not isinstance(prompt, list) or not prompt or isinstance(prompt[0], int):
        return 1
    return len(prompt)


def events(
    chat: bool, choices: int, tokens: int, *, running: bool = True, closing: bool = True
) -> list[bytes]:
    """A stream's events: choices in turn, `tokens` to each."""
    answer, prompt = _answer(chat), 5
    found = []

    def usage(completion: int) -> Json | None:
        figure = vllm_wire.Usage(prompt=prompt, completion=completion)
        return figure.running(chat=chat) if running else None

    for index in range(choices if chat else 0):
        found.append(vllm_wire.event(answer.opening(index, [], usage(0))))
    for count in range(1, tokens + 1):
        for index in range(choices):
            last = _choice(tokens) if count == tokens else None
            part = answer.part(index, f" w{count}", [], last, usage(count))
            found.append(vllm_wire.event(part))
    if closing:
        total = vllm_wire.Usage(prompt=prompt, completion=tokens * choices, cached=2)
        found.append(vllm_wire.event(answer.closing(total.closing(chat=chat))))
    return [*found, vllm_wire.DONE]


@lru_cache(256)
def _whole(chat: bool, choices: int) -> bytes:
    usage = vllm_wire.Usage(prompt=5, completion=3 * choices, cached=1)
    each = [_choice(3) for _ in range(choices)]
    return framed(json.dumps(_answer(chat).whole(each, [[]], usage)).encode())


@lru_cache(256)
def _embeddings(count: int) -> bytes:
    answer = vllm_wire.embeddings(_answer(False), [[0.5, -1.0]] * count, 5 * count)
    return framed(json.dumps(answer).encode())


def _answer(chat: bool) -> vllm_wire.Answer:
    return vllm_wire.Answer(id="cmpl-1", created=1, model="fake", chat=chat, closes_with_usage=True)


def _choice(tokens: int) -> Choice:
    words = tuple(Token(count, f" w{count}") for count in range(1, tokens + 1))
    return Choice(tokens=words, finish_reason="length")

"""Scripts of nodes, good and bad, before clients that are good or leave."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from .books import SECRET, Durability
from .honest import chunk, events, honest_answer
from .mutate import mutate
from .script import Dialled, End, Script, Side

GOLDEN = Path(__file__).parents[1] / "golden" / "vllm-0.32"
Json = dict[str, Any]

_USAGES = (
    b'{"prompt_tokens":-1}', b'{"prompt_tokens":4294967297,"completion_tokens":1}', b"null", b"{}",
    b'{"prompt_tokens":1e30}', b'{"prompt_tokens":"1"}', b"7", b'{"completion_tokens":3}', b"[]",
    b'{"prompt_tokens":5,"completion_tokens":4294967296}', b'{"prompt_tokens":5,"x":"}"}',
    b'{"prompt_tokens":5,"prompt_tokens_details":{"cached_tokens":9}}', b'{"prompt_tokens":5.0}',
    b'{"prompt_tokens":5,"completion_tokens":null}', b'{"prompt_tokens":0,"completion_tokens":0}',
    b'{"prompt_tokens":5,"completion_tokens":2,"prompt_tokens_details":{"cached_tokens":-2}}',
)  # fmt: skip
_EVENTS = (
    b": ping\n\n", b"data: [DONE]\n\n", b'data: {"error":{"message":"x","code":500}}\n\n',
    b'data: {"error":null,"choices":[]}\n\n', b"event: x\ndata: {}\n\n", b"data: \n\n", b"\n\n",
    b'data: {"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"a","type":"function",'
    b'"function":{"name":"f","arguments":"{\\"usage\\":{"}}]}}]}\n\n', b"data: {\n\n", b"x\n\n",
    b'data: {"choices":[{"index":99,"delta":{"content":"x"}}],"usage":{"prompt_tokens":1}}\n\n',
    b'data: {"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":9}}\n\n', b"\xff\xfe\n\n",
    b'data: { "usage" : {"prompt_tokens":5}, "choices" : [ ] }\n\n', b"retry: 5\n\n",
    b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n', b"id: 1\n\n",
    b'data: {"choices":\ndata: []}\n\n', b"data:{}\r\n\r\n", b"data: [DONE] \n\n", b"data: 7\n\n",
    b'data: {"choices":[{"index":0,"delta":{"content":",\\"usage\\":{\\"a"}}]}\n\n',
)  # fmt: skip
_HEADS = (
    b"content-length: 3", b"content-length: 0", b"transfer-encoding: chunked", b"connection: close",
    b"transfer-encoding: gzip", b"content-length: 99999999999999999999", b"x: a\r\n b",
    b"upgrade: x", b"connection: upgrade", b"keep-alive: timeout=1", b"trailer: x", b"a b: c",
    b"content-encoding: gzip", b"connection: keep-alive", b"content-length: -1", b"x: \0",
)  # fmt: skip
_WORDS = (
    *_USAGES, *_EVENTS, *_HEADS, b',"usage":', b',"usage":{', b'"choices":[]', b'"error":',
    b"data: ", b"\n\ndata: ", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 100 Continue\r\n\r\n",
    b"0\r\n\r\n", b"HTTP/1.1 101 Switching\r\n\r\n", b"HTTP/1.0 200 OK\r\n\r\n",
    b"HTTP/1.1 503 Busy\r\n\r\n", b"HTTP/1.1 204 No\r\n\r\n", b"ffffffff\r\n", b"3;x\r\n",
    b'"finish_reason":"stop"',
)  # fmt: skip
_REFUSALS = (
    (400, "BadRequestError"), (400, "x"), (404, "NotFoundError"), (429, "busy"), (500, "Internal"),
    (503, "busy"), (413, "large"), (422, "detail"), (302, "moved"), (204, ""), (201, "made"),
)  # fmt: skip


def node_script(seed: int) -> Script:
    """The same for the same seed."""
    rng = Random(seed)
    requests = [_request(rng) for _ in range(rng.choice((1, 1, 1, 2)))]
    answers = []
    for _ in range(rng.choice((1, 1, 2, 3))):
        for fields, path in requests:
            answers.append(_answer(rng, path, fields))
    leaves = rng.random() < 0.12
    client = Side(
        b"".join(_posted(path, fields) for fields, path in requests),
        end=rng.choice((End.CLOSES, End.RESETS)) if leaves else End.STAYS,
    )
    return Script(
        client=client,
        answers=tuple(answers),
        dialled=tuple(rng.choices(list(Dialled), (30, 2, 1), k=4)),
        reads=rng.choices((0, 1000, 37, -1), (30, 2, 1, 1))[0],
        durability=rng.choices(list(Durability), (60, 40, 1, 1))[0],
        seed=seed,
        eager=rng.random() < 0.3,
    )


def _request(rng: Random) -> tuple[Json, bytes]:
    fields: Json = {"model": rng.choices(("fake", "plain", "lone"), (5, 2, 2))[0]}
    fields["max_tokens"] = 12
    kind = rng.random()
    if kind < 0.07:
        return {"model": fields["model"], "input": ["a", "b"]}, b"/v1/embeddings"
    if rng.random() < 0.7:
        fields["stream"] = True
        if rng.random() < 0.5:
            usage = {"include_usage": True, "continuous_usage_stats": rng.random() < 0.4}
            fields["stream_options"] = usage
    if rng.random() < 0.25:
        fields["n"] = rng.choice((2, 3))
    if kind < 0.3:
        return fields | {"prompt": rng.choice(("hi", ["a", "b"]))}, b"/v1/completions"
    return fields | {"messages": [{"role": "user", "content": "hi"}]}, b"/v1/chat/completions"


def _posted(path: bytes, fields: Json) -> bytes:
    body = json.dumps(fields).encode()
    return (
        b"POST %b HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %b\r\nContent-Length: %d\r\n\r\n%b"
    ) % (path, SECRET.encode(), len(body), body)


def _answer(rng: Random, path: bytes, fields: Json) -> Side:
    kind = rng.random()
    if kind < 0.1:
        data = _refusal(rng)
    elif fields.get("stream"):
        data = _framed(rng, _stream(rng, path, fields), b"text/event-stream")
    else:
        data = _framed(rng, _whole(rng, path, fields), b"application/json")
    if rng.random() < 0.06:
        interim = (b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early\r\nlink: <x>\r\n\r\n")
        data = rng.choice(interim) * rng.choice((1, 2, 500)) + data
    if rng.random() < 0.06:
        data += rng.choice((b"x", b"\r\n", data, b"HTTP/1.1 200 OK\r\ncontent-len", b"\0" * 70_000))
    if rng.random() < 0.4:
        data = mutate(rng, data, _WORDS)
    side = Side(data, end=rng.choices(list(End), (6, 2, 1))[0])
    if data and rng.random() < 0.7:
        side = side.split(rng)
    return side.bytewise() if len(data) < 1500 and rng.random() < 0.1 else side


def _stream(rng: Random, path: bytes, fields: Json) -> bytes:
    captured = rng.random() < 0.15
    found = [rng.choice(_golden("sse"))] if captured else _events(rng, path, fields)
    for _ in range(rng.choice((0, 0, 0, 1, 2, 4))):
        if not found:
            break
        at = rng.randrange(len(found))
        damage = rng.random()
        if damage < 0.3:
            found.insert(at, rng.choice(_EVENTS))
        elif damage < 0.5:
            del found[at]
        elif damage < 0.6:
            found.insert(rng.randrange(len(found)), found[at])
        elif damage < 0.7:
            del found[at:]
        elif damage < 0.8:
            found[at] = found[at].replace(b"\n", b"\r\n")
        else:
            start = found[at].find(b'"usage":')
            if start >= 0:
                end = found[at].find(b"}", start) + 1
                found[at] = found[at][: start + 8] + rng.choice(_USAGES) + found[at][end:]
    return b"".join(found)


def _events(rng: Random, path: bytes, fields: Json) -> list[bytes]:
    prompts = len(fields["prompt"]) if isinstance(fields.get("prompt"), list) else 1
    choices = fields.get("n", 1) * prompts
    tokens = rng.choices((1, 3, 8, 80), (3, 6, 2, 1))[0]
    chat = path.endswith(b"chat/completions")
    running, closing = rng.random() < 0.85, rng.random() < 0.9
    return list(events(chat, choices, tokens, running=running, closing=closing))


def _whole(rng: Random, path: bytes, fields: Json) -> bytes:
    if rng.random() < 0.15:
        return rng.choice(_golden("json"))
    request = b"POST %b HTTP/1.1\r\n\r\n%b" % (path, json.dumps(fields).encode())
    body = honest_answer(request).partition(b"\r\n\r\n")[2]
    if rng.random() < 0.2:
        start = body.find(b'"usage":') + 8
        end = body.rfind(b"}}") + 1
        body = body[:start] + rng.choice(_USAGES) + body[end:]
    if rng.random() < 0.02:
        body += b" " * rng.choice((100_000, 400_000))
    return body


def _framed(rng: Random, body: bytes, kind: bytes) -> bytes:
    status = rng.choices((b"1.1 200 OK", b"1.0 200 OK", b"1.1 200 "), (20, 1, 1))[0]
    headers = [b"content-type: " + kind, b"date: Thu, 01 Jan 1970 00:00:00 GMT"]
    if rng.random() < 0.06:
        headers.append(rng.choice(_HEADS))
    how = rng.random()
    if how < 0.5:
        headers.append(b"transfer-encoding: chunked")
        body = _chunks(rng, body)
    elif how < 0.9:
        headers.append(b"content-length: %d" % (len(body) + rng.choice((0,) * 12 + (1, -1))))
    else:
        headers.append(b"connection: close")
    rng.shuffle(headers)
    return b"HTTP/%b\r\n%b\r\n\r\n%b" % (status, b"\r\n".join(headers), body)


def _chunks(rng: Random, body: bytes) -> bytes:
    if rng.random() < 0.6:  # a chunk an event, as uvicorn writes them
        pieces = [event + b"\n\n" for event in body.split(b"\n\n") if event]
    else:
        size = rng.choice((1, 10, 100, 10_000)) if len(body) < 5000 else 10_000
        pieces = [body[at : at + size] for at in range(0, len(body), size)]
    extension = rng.choice((b"", b"", b"", b";a=b"))
    trailer = rng.choice((b"", b"", b"", b"x: y\r\n"))
    return b"".join(chunk(piece, extension) for piece in pieces) + b"0\r\n" + trailer + b"\r\n"


def _refusal(rng: Random) -> bytes:
    status, kind = rng.choice(_REFUSALS)
    if rng.random() < 0.3:
        body = rng.choice(_golden("json", refusals=True))
    else:
        message = rng.choice(("bad", "maximum context length is 5", "a\ud83d\0\r\nb", "x" * 5000))
        error = {"message": message, "type": kind, "param": None, "code": status}
        body = json.dumps(rng.choice(({"error": error}, {"detail": [1]}, {"error": "x"}))).encode()
    head = b"HTTP/1.1 %d X\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    return head % (status, len(body)) + body


@cache
def _golden(suffix: str, refusals: bool = False) -> tuple[bytes, ...]:
    found = sorted(GOLDEN.glob(f"*.{suffix}"))
    chosen = [path for path in found if refusals == (".200." not in path.name)]
    return tuple(path.read_bytes() for path in chosen)

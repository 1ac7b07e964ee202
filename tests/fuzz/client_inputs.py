"""Scripts of clients, good and bad, before nodes that are good."""

from __future__ import annotations

import json
from random import Random
from typing import Any

from .books import LIMITED, POOR, REVOKED, SECRET, Durability
from .honest import chunk
from .mutate import mutate
from .script import Dialled, End, Script, Side
from .world import BODY_BYTES_MAX

Json = dict[str, Any]

_TEXTS = ("hi", "", "naïve 日本語 🙂", "\0\x1f\x7f", '","usage":{"prompt_tokens":1}', "a" * 3000)
_DEEP = "@deep@"
"""Stands for something nested deeply, until the body is written."""
_TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
_HEADERS = (
    b"Content-Length: 3", b"Content-Length: 0", b"Content-Length: +3", b"Content-Length : 3",
    b"Content-Length: 3, 3", b"content-length: 18446744073709551617", b"Content-Length:",
    b"Transfer-Encoding: chunked", b"Transfer-Encoding: gzip, chunked",
    b"transfer-encoding: Chunked", b"Transfer-Encoding: identity",
    b"Transfer-Encoding: \x0bchunked", b"Transfer-Encoding:\tchunked ",
    b"Transfer-Encoding : chunked", b"TRANSFER-ENCODING: chunked, identity", b"X: a\r\n b",
    b"Host: y", b"Host:", b"host:x", b"Connection: close", b"Connection: keep-alive, Upgrade",
    b"Upgrade: websocket", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAAQ", b"Expect: 100-continue",
    b"Expect: 200-ok", b"Origin: https://a.example", b"Origin: null", b"Origin: \xff",
    b"Access-Control-Request-Method: POST", b"Access-Control-Request-Headers: x\ty",
    b"Authorization: Basic eDp5", b"Authorization: Bearer", b"Authorization: Bearer \xff",
    b"Cookie: a=b", b": empty", b"No-Colon", b"X-\0: y", b"Trailer: X", b"Keep-Alive: 1",
)  # fmt: skip
_WORDS = (
    *_HEADERS, b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0", b"POST ", b"GET ", b"HEAD ", b"CONNECT ",
    b"/v1/chat/completions", b"/echo", b"0\r\n\r\n", b"5\r\nabcde\r\n", b"ffffffff\r\n",
    b"5;a=b\r\n", b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b'"stream":true', b'"n":16', b'"model":', b'"stream_options":{"include_usage":true}',
)  # fmt: skip
_OTHERS = (
    b"GET /healthz", b"GET /readyz", b"GET /v1/models", b"GET /v1/models/fake", b"HEAD /healthz",
    b"HEAD /v1/models/nope", b"OPTIONS /v1/models", b"OPTIONS /v1/chat/completions", b"OPTIONS *",
    b"GET /v1/chat/completions", b"DELETE /v1/chat/completions", b"PUT /v1/completions",
    b"HEAD /v1/chat/completions", b"GET /nothing%2e%00?a=%ff&b", b"GET /v1/models/%F0%9F%98%80",
    b"GET http://x/healthz?q", b"POST http://x/v1/chat/completions", b"GET //healthz",
    b"PATCH /echo?x=y", b"POST /echo", b"POST /echo", b"GET /echo", b"CONNECT x:443",
    b"POST /v1/chat/completions?api-version=1", b"GET /openapi.json", b"TRACE /healthz",
    b"HEAD h://", b"GET http://:/", b"HEAD //healthz", b"GET /healthz#x",
)  # fmt: skip


def client_script(seed: int) -> Script:
    """The same for the same seed."""
    rng = Random(seed)
    count = rng.choice((1, 1, 1, 1, 2, 2, 3, 5))
    data = b"".join(_request(rng) for _ in range(count))
    if rng.random() < 0.7:
        data = mutate(rng, data, _WORDS)
    side = Side(data, end=rng.choices(list(End), (6, 2, 1))[0])
    if data and rng.random() < 0.7:
        side = side.split(rng)
    if len(data) < 3000 and rng.random() < 0.1:
        side = side.bytewise()
    return Script(
        client=side,
        dialled=tuple(rng.choices(list(Dialled), (30, 1, 1), k=4)),
        reads=rng.choices((0, 1000, 37, -1), (30, 2, 1, 1))[0],
        durability=rng.choices(list(Durability), (80, 20, 1, 1))[0],
        seed=seed,
        eager=rng.random() < 0.3,
    )


def _request(rng: Random) -> bytes:
    kind = rng.random()
    if kind < 0.25:
        return _other(rng)
    path, fields = rng.choice((_chat, _chat, _completion, _embedding))(rng)
    if rng.random() < 0.1:
        fields[rng.choice(("n", "max_tokens", "stream", "x", "messages", "model"))] = _strange(rng)
    if rng.random() < 0.02:
        fields[rng.choice(("structured_outputs", "chat_template_kwargs"))] = {"a": _DEEP}
    body = json.dumps(fields, ensure_ascii=rng.random() < 0.5).encode("utf-8", "surrogatepass")
    body = body.replace(b'"%b"' % _DEEP.encode(), _deep(rng))
    if rng.random() < 0.05:
        body = mutate(rng, body, _WORDS)
    if rng.random() < 0.01:
        body = body[:-1] + b" " * (BODY_BYTES_MAX + rng.choice((-3000, 0, 10_000))) + b"}"
    return _framed(rng, b"POST " + path, body)


def _chat(rng: Random) -> tuple[bytes, Json]:
    fields: Json = {"messages": [{"role": "user", "content": rng.choice(_TEXTS)}]}
    if rng.random() < 0.15:
        parts = [{"type": "text", "text": rng.choice(_TEXTS)}, {"type": "image_url"}]
        fields["messages"].append({"role": "user", "content": parts[: rng.randint(1, 2)]})
    if rng.random() < 0.1:
        fields |= {"tools": [_TOOL], "tool_choice": rng.choice(("auto", "none", "required"))}
    if rng.random() < 0.2:
        fields["max_completion_tokens"] = rng.choice((1, 12, 2048))
    return b"/v1/chat/completions", fields | _sampling(rng)


def _completion(rng: Random) -> tuple[bytes, Json]:
    prompts = ("hi", ["a", "b"], [1, 2, 3], [[1], [2]], "", ["a", [1]], ["x"] * 40)
    return b"/v1/completions", {"prompt": rng.choice(prompts), **_sampling(rng)}


def _embedding(rng: Random) -> tuple[bytes, Json]:
    fields = {"model": rng.choice(("fake", "plain")), "input": rng.choice(("hi", ["a", "b"], []))}
    return b"/v1/embeddings", fields


def _sampling(rng: Random) -> Json:
    models = ("fake", "plain", "lone", "nope")
    fields: Json = {"model": rng.choices(models, (10, 4, 4, 1))[0]}
    if rng.random() < 0.5:
        fields["max_tokens"] = rng.choice((1, 3, 12, 2048, 2049, 0))
    if rng.random() < 0.5:
        fields["stream"] = rng.random() < 0.9
        if rng.random() < 0.5:
            running = rng.random() < 0.3
            fields["stream_options"] = {"include_usage": True, "continuous_usage_stats": running}
    if rng.random() < 0.2:
        fields["n"] = rng.choice((1, 2, 3, 16, 17))
    if rng.random() < 0.1:
        fields["stop"] = rng.choice(("x", ["a", "b"], ["a"] * 17))
    if rng.random() < 0.05:
        fields["seed"] = rng.choice((1, 2**63, -(2**63)))
    return fields


def _strange(rng: Random) -> Any:
    return rng.choice((None, True, -1, 2**64, 1e308, 0.5, "x", "\ud800", [], {}, [[]], 0, _DEEP))


def _deep(rng: Random) -> bytes:
    depth = rng.choice((1, 50, rng.randrange(900, 1010), 100_000))
    opening, closing = rng.choice(((b"[", b"]"), (b'{"a":', b"}")))
    return opening * depth + b"0" + closing * depth


def _other(rng: Random) -> bytes:
    line = rng.choice(_OTHERS)
    bodiless = line.startswith((b"GET", b"HEAD", b"OPTIONS", b"TRACE"))
    body = b"" if bodiless and rng.random() < 0.9 else rng.choice((b"", b"abc", b"x" * 5000))
    return _framed(rng, line, body)


def _framed(rng: Random, line: bytes, body: bytes) -> bytes:
    version = rng.choices((b"1.1", b"1.0"), (12, 1))[0]
    secret = rng.choices((SECRET, LIMITED, POOR, REVOKED, "sk-none"), (40, 3, 2, 1, 1))[0]
    headers = [b"Host: x", b"Authorization: Bearer " + secret.encode()]
    if rng.random() < 0.02:
        headers.pop()
    if rng.random() < 0.15:
        headers.append(rng.choice(_HEADERS))
    if rng.random() < 0.05:
        headers.append(b"X-Filler: " + b"a" * rng.choice((1000, 30_000, 40_000)))
    if rng.random() < 0.25 and body:
        headers.append(b"Transfer-Encoding: chunked")
        payload = _chunks(rng, body)
    else:
        payload = body
        if body or rng.random() < 0.3:
            headers.append(b"Content-Length: %d" % len(body))
    if rng.random() < 0.08:
        headers.append(b"Expect: 100-continue")
    rng.shuffle(headers)
    empty = b"\r\n" * (rng.random() < 0.05)
    head = b"%b HTTP/%b\r\n%b\r\n\r\n" % (line, version, b"\r\n".join(headers))
    return empty + head + payload


def _chunks(rng: Random, body: bytes) -> bytes:
    pieces, at = [], 0
    while at < len(body):
        size = rng.choice((1, 7, 100, 10_000))
        pieces.append(chunk(body[at : at + size], rng.choice((b"", b"", b"", b";a=b", b';a="b"'))))
        at += size
        if len(pieces) > 50:
            pieces.append(chunk(body[at:]))
            break
    end = rng.choice((b"0\r\n\r\n", b"0\r\n\r\n", b"0\r\nX: y\r\n\r\n", b"000\r\n\r\n"))
    return b"".join(piece for piece in pieces if piece != b"0\r\n\r\n") + end

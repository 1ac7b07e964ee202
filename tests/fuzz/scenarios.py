"""Exchanges whose outcome must not depend on how their bytes are cut."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import msgspec

from .books import LIMITED, POOR, SECRET
from .honest import chunk, events, framed, honest_answer, streamed
from .node_inputs import GOLDEN
from .script import Dialled, End, Script, Side

Json = dict[str, Any]
CHAT, COMPLETIONS, EMBEDDINGS = "/v1/chat/completions", "/v1/completions", "/v1/embeddings"
HI = {"model": "fake", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 12}
USAGE = {"stream_options": {"include_usage": True}}
RUNNING = {"stream_options": {"include_usage": True, "continuous_usage_stats": True}}


def head(line: str, *headers: str, secret: str = SECRET) -> bytes:
    lines = [line, "Host: x", f"Authorization: Bearer {secret}", *headers, "\r\n"]
    return "\r\n".join(lines).encode()


def post(fields: Json, *headers: str, path: str = CHAT, secret: str = SECRET) -> bytes:
    body = json.dumps(fields).encode()
    length = f"Content-Length: {len(body)}"
    return head(f"POST {path} HTTP/1.1", length, *headers, secret=secret) + body


def _scripts(fields: Json, *answers: bytes, end: End = End.STAYS, path: str = CHAT) -> Script:
    sides = tuple(Side(answer, end=end) for answer in answers)
    return Script(client=Side(post(fields, path=path)), answers=sides)


def captured() -> Iterator[tuple[str, Script]]:
    """What vLLM 0.32 answered, to what it was asked."""
    cases = json.loads((GOLDEN / "cases.json").read_text())
    for name, case in cases.items():
        if case["path"] not in (CHAT, COMPLETIONS) or "body" not in case:
            continue
        fields = {**case["body"], "model": "fake"}
        fields.pop("return_token_ids", None)
        for path in GOLDEN.glob(f"{name}.*"):
            status, suffix = path.name.split(".")[1:]
            body = path.read_bytes()
            if suffix == "sse":
                parts = [event + b"\n\n" for event in body.split(b"\n\n") if event]
                yield name, _scripts(fields, streamed(parts), path=case["path"])
            else:
                refusal = framed(body, status=status.encode() + b" X")
                yield name, _scripts(fields, refusal, path=case["path"])


def clients() -> dict[str, Script]:
    """The client's side, before nodes that answer as they should."""
    body = json.dumps(HI).encode()
    chunked = head(f"POST {CHAT} HTTP/1.1", "Transfer-Encoding: chunked")
    chunks = chunk(body[:9]) + chunk(body[9:], b";a=b") + b"0\r\nX: y\r\n\r\n"
    expects = head(f"POST {CHAT} HTTP/1.1", "Expect: 100-continue", f"Content-Length: {len(body)}")
    texts = {"model": "fake", "prompt": ["a", "b"], "n": 2}
    several = post(HI) + head("GET /healthz HTTP/1.1") + post({**HI, "stream": True})
    found = {
        "whole": post(HI),
        "stream": post({**HI, "stream": True}),
        "stream with usage": post({**HI, "stream": True, **USAGE}),
        "stream with running usage": post({**HI, "stream": True, "n": 2, **RUNNING}),
        "another engine": post({**HI, "model": "plain", "stream": True}),
        "another name": post({**HI, "model": "lone"}),
        "several prompts": post({**texts, "stream": True}, path=COMPLETIONS),
        "embeddings": post({"model": "fake", "input": ["a", "b"]}, path=EMBEDDINGS),
        "chunks": chunked + chunks,
        "expecting to continue": expects + body,
        "pipelined": several + post({**HI, "model": "nope"}) + post(HI),
        "empty lines": b"\r\n\r\n" + post(HI) + b"\r\n" + post(HI),
        "HTTP/1.0": post({**HI, "stream": True}).replace(b"HTTP/1.1", b"HTTP/1.0"),
        "closing": post(HI, "Connection: close"),
        "the long way": post(HI, path=CHAT + "?a=b"),
        "other routes": head("HEAD /healthz HTTP/1.1") + head(f"OPTIONS {CHAT} HTTP/1.1"),
        "no such route": post({}, path="/v1/nothing") + head(f"GET {CHAT} HTTP/1.1"),
        "an echo": post({"a": 1}, path="/echo") * 2,
        "page of another origin": post({**HI, "stream": True}, "Origin: https://a.example"),
        "no JSON": post(HI)[:-1] + b"x",
        "wrong type": post({**HI, "max_tokens": "many"}),
        "no key": post(HI).replace(b"Authorization", b"X"),
        "wrong key": post(HI, secret="sk-nobody"),
        "no credit": post(HI, secret=POOR),
        "a limit": post(HI, secret=LIMITED) * 5,
        "two lengths": post(HI, "Content-Length: 3") + post(HI),
        "a body in the middle": head(f"POST {CHAT} HTTP/1.1", "Content-Length: 50") + b"{",
    }
    scripts = {name: Script(client=Side(data)) for name, data in found.items()}
    for end in (End.CLOSES, End.RESETS):
        leaves = Side(post({**HI, "stream": True})[:-5], end=end)
        scripts[f"leaving: {end}"] = Script(client=leaves)
    return scripts


def nodes() -> dict[str, Script]:
    """The node's side: every way in which an answer can come, or fail to."""
    stream = {**HI, "stream": True}
    told = list(events(True, 1, 4))
    good = streamed(told)
    whole = honest_answer(b"POST %b HTTP/1.1\r\n\r\n%b" % (CHAT.encode(), json.dumps(HI).encode()))
    plain = b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n"
    error = b'data: {"error":{"message":"x","type":"InternalServerError","code":500}}\n\n'
    interim = b"HTTP/1.1 100 C\r\n\r\nHTTP/1.1 103 E\r\nA: b\r\n\r\n"
    body = whole.partition(b"\r\n\r\n")[2]
    lines = [event.replace(b"\n", b"\r\n") for event in told]
    silent = events(True, 1, 4, running=False, closing=False)
    lie = good.replace(b'"prompt_tokens":5', b'"prompt_tokens":-5')
    broken = streamed(told[:-1])[:-5]
    busy = framed(b'{"error":{"message":"busy"}}', status=b"503 Busy")
    found = {
        "interim answers": _scripts(HI, interim + whole),
        "trailers": _scripts(stream, good[:-2] + b"X: y\r\n\r\n"),
        "until it closes": _scripts(stream, plain + b"".join(told), end=End.CLOSES),
        "whole until it closes": _scripts(HI, plain + body, end=End.CLOSES),
        "carriage returns": _scripts(stream, streamed(lines)),
        "comments": _scripts(stream, streamed([b": ping\n\n", *told[:2], b": x\n\n", *told[2:]])),
        "busy": _scripts(stream, busy),
        "broken before a byte": _scripts(stream, b"", end=End.RESETS),
        "garbage": _scripts(stream, b"SSH-2.0-OpenSSH\r\n"),
        "refused": _scripts(HI, framed(b'{"error":{"message":"bad"}}', status=b"400 Bad")),
        "cut in the middle": _scripts(stream, good[: len(good) // 2], end=End.CLOSES),
        "silent in the middle": _scripts(stream, good[: len(good) // 2]),
        "error in the middle": _scripts(stream, streamed([*told[:3], error, told[-1]])),
        "error at first": _scripts(stream, streamed([error, told[-1]])),
        "no [DONE]": _scripts(stream, streamed(told[:-1])),
        "nothing behind the closing event": _scripts(stream, broken, end=End.CLOSES),
        "no usage": _scripts({**stream, "model": "plain"}, streamed(silent)),
        "usage that is a lie": _scripts(stream, lie),
        "two answers": _scripts(HI, whole + whole),
        "short": _scripts(HI, whole[:-1], end=End.CLOSES),
        "no JSON": _scripts(HI, framed(b"<html>")),
        "chunk that is none": _scripts(stream, good.replace(b"\r\n\r\n1", b"\r\n\r\nzz", 1)),
    }  # fmt: skip
    refusing = msgspec.structs.replace(_scripts(stream), dialled=(Dialled.REFUSED,))
    return found | {"not reachable": refusing}

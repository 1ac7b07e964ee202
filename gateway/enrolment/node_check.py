"""Does a node serve? One question of a single token, asked by the gateway itself. Blocks."""

from __future__ import annotations

import contextlib
import http.client
import secrets
import ssl
from collections.abc import Collection
from typing import Any

import msgspec

from gateway.nodes.door import Door
from gateway.openai.request import Endpoint
from router.types import NodeRecord

TIMEOUT_S = 20.0
"""A node with its hands full answers late, and serves all the same."""
ANSWER_BYTES_MAX = 1024 * 1024


class NotServingError(Exception):
    """The message says what it did instead."""


class _Usage(msgspec.Struct, frozen=True):
    prompt_tokens: int
    completion_tokens: int = 0


class _Answer(msgspec.Struct, frozen=True):
    model: str
    usage: _Usage


_answer = msgspec.json.Decoder(_Answer)


def check(node: NodeRecord, kinds: Collection[Endpoint], tls: ssl.SSLContext | None) -> None:
    """Ask one thing that the model of the node can do. Raises NotServingError."""
    endpoint = next(each for each in Endpoint if each in kinds)
    model = node.served_model or node.model
    asked = {"model": model, **_question(endpoint)}
    try:
        status, body = _post(node.url, endpoint.path, msgspec.json.encode(asked), tls)
    except (OSError, http.client.HTTPException, ValueError) as error:  # or a host that is none
        raise NotServingError(f"{endpoint.path}: {error}") from error
    if status != 200:
        raise NotServingError(f"{endpoint.path}: answered {status}")
    try:
        told = _answer.decode(body)
    except msgspec.DecodeError as error:
        raise NotServingError(f"{endpoint.path}: no answer of a model: {error}") from error
    if told.model != model:
        raise NotServingError(f"{endpoint.path}: answered as '{told.model[:100]}'")
    if told.usage.prompt_tokens < 1 or told.usage.completion_tokens != int(endpoint.generates):
        raise NotServingError(f"{endpoint.path}: one token was asked for, {told.usage} told")


def _question(endpoint: Endpoint) -> dict[str, Any]:
    """Each time another, so that no answer can be kept ready."""
    word = secrets.token_hex(8)
    match endpoint:
        case Endpoint.CHAT:
            return {"messages": [{"role": "user", "content": word}], "max_tokens": 1}
        case Endpoint.COMPLETIONS:
            return {"prompt": word, "max_tokens": 1}
        case Endpoint.EMBEDDINGS:
            return {"input": word}
        case Endpoint.RERANK:
            return {"query": word, "documents": [word]}
        case Endpoint.SCORE:
            return {"text_1": word, "text_2": word}


def _post(url: str, path: str, body: bytes, tls: ssl.SSLContext | None) -> tuple[int, bytes]:
    if tls is None and url.startswith("https:"):
        raise ValueError("its certificate is not known yet")
    with contextlib.closing(Door(url, tls=tls, key=None, timeout_s=TIMEOUT_S)) as door:
        answer, told = door.post(path, body, ANSWER_BYTES_MAX)
        return answer.status, told

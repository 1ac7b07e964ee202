"""JSON-RPC over HTTP with a time limit, and its failures by name. Edge."""

from __future__ import annotations

import http.client
import itertools
import urllib.error
import urllib.request
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import msgspec

from ide.chain.chain import ChainAwayError, ChainError

_ANSWER_BYTES_MAX = 64 * 1024 * 1024
_ASK_LATER = frozenset({-32004, -32005, -32007, -32009, -32014, -32016})
"""Solana's own codes for a node that is behind, or has not got a slot yet."""
_TOO_MANY = 429
_BROKEN = 500


class _Fault(msgspec.Struct, frozen=True):
    code: int
    message: str


class _Answer(msgspec.Struct, frozen=True):
    id: int
    result: Any = None
    error: _Fault | None = None


class Rpc:
    """One node, asked one question at a time. Calls raise ChainError, and of it ChainAwayError
    where the same question may get an answer later.
    """

    def __init__(self, url: str, timeout_s: int) -> None:
        """Raises ChainError if the URL is none of HTTP's."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ChainError("[solana] url must be one of http:// or https://")
        self._url = url
        self._timeout_s = timeout_s
        self._ids = itertools.count(1)
        self.name = f"the RPC node {parts.hostname}"

    def call(self, method: str, params: Sequence[object]) -> Any:
        """The result. A node's keys are often a part of its URL: no message tells it."""
        number = next(self._ids)
        body = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
        request = urllib.request.Request(
            self._url,
            data=msgspec.json.encode(body),
            headers={"content-type": "application/json"},
        )
        where = f"{self.name}, {method}"
        try:
            with urllib.request.urlopen(request, timeout=self._timeout_s) as response:
                raw = response.read(_ANSWER_BYTES_MAX)
        except urllib.error.HTTPError as error:
            with error:
                later = error.code == _TOO_MANY or error.code >= _BROKEN
                raise (ChainAwayError if later else ChainError)(
                    f"{where}: HTTP status {error.code}"
                ) from None
        except (OSError, http.client.HTTPException) as error:
            told = getattr(error, "reason", None) or error
            raise ChainAwayError(f"{where}: no answer: {told or type(error).__name__}") from None
        return _result(raw, number, where)


def _result(raw: bytes, number: int, where: str) -> Any:
    try:
        answer = msgspec.json.decode(raw, type=_Answer)
    except msgspec.DecodeError as error:
        raise ChainError(f"{where}: what came back is no JSON-RPC answer: {error}") from None
    if answer.error is not None:
        later = answer.error.code in _ASK_LATER
        raise (ChainAwayError if later else ChainError)(
            f"{where}: error {answer.error.code}: {answer.error.message}"
        )
    if answer.id != number:
        raise ChainError(f"{where}: the answer is to question {answer.id}, not {number}")
    return answer.result

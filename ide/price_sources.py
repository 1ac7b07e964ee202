"""Prices of IO as others publish them: read over HTTP or from a file. Edge.

Sources are read side by side, each under its own time limit, and each fails alone: what could not
be read is a `SourceFailure` that says why, beside the quotes of the others.
"""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal, InvalidOperation
from http.client import HTTPException
from pathlib import Path
from typing import Annotated, Any

import msgspec

from ide.oracle import OracleParams, Quote
from metering.money import INT64_MAX, USD_UNIT

_BODY_BYTES_MAX = 1 << 20
_CHUNK_BYTES = 1 << 16


class PriceSource(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One place that publishes a price: a URL or a file of JSON, and where in it the price is.

    `price_at` names keys and list places with dots ("data.0.price"); `at_s` does so for the
    price's time in Unix seconds, without which it counts as of when it was read.
    """

    name: Annotated[str, msgspec.Meta(min_length=1)]
    """Other than that of any other source."""
    url: str | None = None
    """To be asked over HTTP."""
    file: str | None = None
    """To be read, instead of a URL."""
    price_at: str
    """Where in the answer the price in USD is."""
    at_s: str | None = None
    """Where its time is."""
    timeout_s: Annotated[int, msgspec.Meta(ge=1, le=60)] = 5
    """For the whole answer."""

    def __post_init__(self) -> None:
        if (self.url is None) == (self.file is None):
            raise ValueError(f"price source '{self.name}': give either url or file")
        if self.url is not None and not self.url.startswith(("http://", "https://")):
            raise ValueError(f"price source '{self.name}': url must start with http:// or https://")


class OracleConfig(OracleParams, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the price of IO comes from, and how far it is trusted: the `[oracle]` section."""

    sources: tuple[PriceSource, ...]

    def __post_init__(self) -> None:
        names = [source.name for source in self.sources]
        if len(set(names)) < len(names):
            raise ValueError("two price sources have one name: a source counts once")
        if len(names) < self.sources_min:
            raise ValueError(
                f"sources_min = {self.sources_min} with {len(names)} sources: there would never be"
                " a price"
            )


class SourceFailure(msgspec.Struct, frozen=True, kw_only=True):
    """Why a source gave no quote."""

    source: str
    problem: str


def read_quotes(
    sources: Sequence[PriceSource], now_ns: int
) -> tuple[list[Quote], list[SourceFailure]]:
    """Every source read once, in the order given: its quote, or why there is none."""
    if not sources:
        return [], []
    with ThreadPoolExecutor(len(sources)) as readers:
        found = list(readers.map(lambda source: _read(source, now_ns), sources))
    quotes = [answer for answer in found if isinstance(answer, Quote)]
    return quotes, [answer for answer in found if isinstance(answer, SourceFailure)]


def _read(source: PriceSource, now_ns: int) -> Quote | SourceFailure:
    try:
        document = json.loads(_text(source), parse_float=Decimal)
        at_ns = now_ns
        if source.at_s is not None:
            at_ns = int(_number(document, source.at_s) * USD_UNIT)
        nano = int(_number(document, source.price_at) * USD_UNIT)
    except (OSError, HTTPException) as error:
        return SourceFailure(source=source.name, problem=f"not read: {error}")
    except (ValueError, RecursionError) as error:
        return SourceFailure(source=source.name, problem=f"not understood: {error}")
    if not 0 <= nano <= INT64_MAX:
        return SourceFailure(source=source.name, problem=f"{nano} nano-USD is no price")
    return Quote(source=source.name, price_nano_usd=nano, at_ns=at_ns)


def _text(source: PriceSource) -> bytes:
    if source.file is not None:
        with Path(source.file).open("rb") as file:
            return file.read(_BODY_BYTES_MAX)
    assert source.url is not None
    deadline = time.monotonic() + source.timeout_s
    body = b""
    with urllib.request.urlopen(source.url, timeout=source.timeout_s) as answer:
        while chunk := answer.read1(_CHUNK_BYTES):
            body += chunk
            if len(body) > _BODY_BYTES_MAX:
                raise ValueError(f"more than {_BODY_BYTES_MAX} bytes")
            if time.monotonic() > deadline:
                raise TimeoutError(f"not whole after {source.timeout_s} s")
    return body


def _number(document: Any, at: str) -> Decimal:
    value = document
    for key in at.split("."):
        if isinstance(value, list) and key.isdecimal() and int(key) < len(value):
            value = value[int(key)]
        elif isinstance(value, dict) and key in value:
            value = value[key]
        else:
            raise ValueError(f"there is no '{at}' in it")
    if isinstance(value, bool) or not isinstance(value, int | str | Decimal):
        raise ValueError(f"'{at}' is no number")
    try:
        number = Decimal(value)
    except InvalidOperation as error:
        raise ValueError(f"'{at}' is no number: {value!r:.40}") from error
    if not number.is_finite() or abs(number) > INT64_MAX:
        raise ValueError(f"'{at}' is no number: {value!r:.40}")
    return number

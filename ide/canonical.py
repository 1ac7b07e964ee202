"""The one way a record of this room becomes bytes, and bytes become a hash."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

_encode = msgspec.json.Encoder(order="sorted").encode


def canonical_json(record: msgspec.Struct | dict[str, Any]) -> str:
    """JSON with sorted keys and no spaces: equal records give equal text on every machine."""
    return _encode(record).decode()


def record_hash(record: msgspec.Struct) -> str:
    """sha256 over `canonical_json`, as 64 hexadecimal digits."""
    return text_hash(canonical_json(record))


def text_hash(text: str) -> str:
    """sha256 over UTF-8, as 64 hexadecimal digits."""
    return hashlib.sha256(text.encode()).hexdigest()

"""The one way a record of this room becomes bytes, and bytes become a hash."""

from __future__ import annotations

import hashlib

import msgspec


def canonical_json(record: msgspec.Struct) -> str:
    """JSON with sorted keys and no spaces: equal records give equal text on every machine."""
    return msgspec.json.encode(record, order="sorted").decode()


def record_hash(record: msgspec.Struct) -> str:
    """sha256 over `canonical_json`, as 64 hexadecimal digits."""
    return hashlib.sha256(canonical_json(record).encode()).hexdigest()

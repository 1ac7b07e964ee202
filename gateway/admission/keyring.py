"""The API keys by digest, in memory, reloaded from the store when one is not found."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from typing import Protocol

from metering.keys import ApiKey

RELOAD_INTERVAL_NS = 200_000_000
"""Unknown keys cause at most this many reloads: guessing keys must not load the database."""


class KeySource(Protocol):
    def load_all(self) -> Iterable[ApiKey]: ...


class Keyring:
    """All keys, revoked ones included (their refusal needs no reload)."""

    def __init__(self, store: KeySource) -> None:
        self._store = store
        self._keys: dict[bytes, ApiKey] = {}
        self._loaded_ns = 0
        self._lock = asyncio.Lock()

    def find(self, digest: bytes) -> ApiKey | None:
        return self._keys.get(digest)

    async def reload(self) -> None:
        """Read all keys again, off the event loop; callers that come together share one read."""
        async with self._lock:
            if time.monotonic_ns() - self._loaded_ns < RELOAD_INTERVAL_NS:
                return
            keys = await asyncio.to_thread(lambda: list(self._store.load_all()))
            self._keys = {key.digest: key for key in keys}
            self._loaded_ns = time.monotonic_ns()

"""The API keys by digest, in memory, reloaded from the store when one is not found."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from typing import Protocol

import msgspec

from metering.key_bounds import by_digest
from metering.keys import ApiKey

RELOAD_INTERVAL_NS = 200_000_000
"""Between two reloads at least: guessing keys must not load the database."""


class KeySource(Protocol):
    def version(self) -> int: ...

    def load_all(self) -> Iterable[ApiKey]: ...


class Caller(msgspec.Struct, frozen=True):
    """Who asked last on a connection: nearly always who asks next."""

    authorization: bytes
    key: ApiKey
    keys: object
    """The keyring's, among which it was found."""


class Keyring:
    """All keys, revoked ones included (their refusal needs no reload)."""

    def __init__(self, store: KeySource) -> None:
        self._store = store
        self.keys: dict[bytes, ApiKey] = {}
        """Another one whenever a key has changed."""
        self._by_id: dict[str, ApiKey] = {}
        self._version: int | None = None
        self._begun_ns = 0
        self._lock = asyncio.Lock()

    def find(self, digest: bytes) -> ApiKey | None:
        return self.keys.get(digest)

    def by_id(self, key_id: str) -> ApiKey | None:
        return self._by_id.get(key_id)

    async def reload(self) -> None:
        """Read all keys as they are now, off the event loop. Callers that come together share one
        read, and one that comes right after a read waits: what changed since must not be missed.
        """
        asked_ns = time.monotonic_ns()
        async with self._lock:
            if self._begun_ns > asked_ns:
                return
            wait_ns = self._begun_ns + RELOAD_INTERVAL_NS - time.monotonic_ns()
            if self._begun_ns and wait_ns > 0:
                await asyncio.sleep(wait_ns / 1e9)
            begun_ns = time.monotonic_ns()
            await asyncio.to_thread(self._read)
            self._begun_ns = begun_ns

    def _read(self) -> None:
        """Other gateways' charges ask for this several times a second, and change no key."""
        version = self._store.version()
        if version != self._version:
            keys = by_digest(self._store.load_all())
            self.keys, self._by_id = keys, {key.key_id: key for key in keys.values()}
            self._version = version

"""Gateways that hear of each other's nodes, through Redis: one round trip, three times a second.

Each keeps what it tells under a name of its own life, for two seconds. One that died is forgotten
then, with all that it had on nodes; a Redis that lost everything has it again after the next round.
Without Redis each gateway goes by what it knows itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from pathlib import Path
from typing import Any

import msgspec
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError

from router.hearsay import Told
from router.router import Router

log = logging.getLogger("tollgate")

SCRIPT = Path(__file__).with_name("redis_hearsay.lua")
INTERVAL_S = 0.3
KEPT_MS = 2_000


class RedisHearsay:
    """Of one process. `ledger_name`: whose gateways share the Redis."""

    def __init__(self, router: Router, url: str, *, ledger_name: str, timeout_ms: int) -> None:
        self._router = router
        self._redis = Redis.from_url(
            url,
            socket_timeout=timeout_ms / 1000,
            socket_connect_timeout=timeout_ms / 1000,
            retry=Retry(NoBackoff(), 1),
            single_connection_client=True,
        )
        self._ledger_name = ledger_name
        self._member = secrets.token_hex(8)
        self._script = SCRIPT.read_text()
        self._sha = ""
        self._decoder = msgspec.msgpack.Decoder(Told)
        self._heard_ns = time.monotonic_ns()
        self._away = False

    async def run(self) -> None:
        """For the gateway's lifetime."""
        turn: asyncio.Task[None] | None = None
        try:
            while True:
                # In a task of its own: a question that is cut short may swallow the end of ours,
                # and leaves its answer to the next.
                turn = asyncio.create_task(self._turn())
                await asyncio.wait({turn})
                turn.result()
                await asyncio.sleep(INTERVAL_S)
        finally:
            if turn is not None:
                await asyncio.wait({turn})
            await self._leave()

    async def _turn(self) -> None:
        told = msgspec.msgpack.encode(self._router.tell(time.monotonic_ns()))
        try:
            others = self._read(await self._ask(told))
        except (RedisError, OSError, RuntimeError, msgspec.DecodeError) as error:
            # uvloop's is a RuntimeError: of a connection that broke before it was written to
            if not self._away:
                log.warning("what other gateways know of nodes is not heard: %s", error)
            self._away = True
            if time.monotonic_ns() - self._heard_ns > KEPT_MS * 1_000_000:
                self._router.hear([], time.monotonic_ns())
            return
        self._away = False
        self._heard_ns = time.monotonic_ns()
        self._router.hear(others, self._heard_ns)

    async def _ask(self, told: bytes) -> list[bytes]:
        """Tell this, and hear what the others told: names and words by turns."""
        arguments = (0, self._ledger_name, self._member, told, KEPT_MS)
        try:
            answer: Any = await self._redis.evalsha(self._sha, *arguments)
        except NoScriptError:
            self._sha = await self._redis.script_load(self._script)
            answer = await self._redis.evalsha(self._sha, *arguments)
        words: list[bytes] = answer
        return words

    def _read(self, words: list[bytes]) -> list[tuple[str, Told]]:
        names = [name.decode() for name in words[::2]]
        return list(zip(names, map(self._decoder.decode, words[1::2]), strict=True))

    async def _leave(self) -> None:
        """What it had on nodes is nobody's any more."""
        with contextlib.suppress(RedisError, OSError, RuntimeError):
            await self._ask(b"")
        await self._redis.aclose()

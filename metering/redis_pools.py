"""The pools that gateways share, in Redis: one script, one round trip for all pools at once."""

from __future__ import annotations

from pathlib import Path

import msgspec
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError, ResponseError

from metering.pools import Answer, DisownedError, PoolsUnavailableError, Question

SCRIPT = Path(__file__).with_name("redis_pools.lua")


class RedisPools:
    """`Pools` over one connection, used by one task."""

    def __init__(self, url: str, *, ledger_name: str, timeout_ms: int) -> None:
        self._redis = Redis.from_url(
            url,
            socket_timeout=timeout_ms / 1000,
            socket_connect_timeout=timeout_ms / 1000,
            retry=Retry(NoBackoff(), 1),
            single_connection_client=True,
        )
        self._ledger_name = ledger_name
        self._script = SCRIPT.read_text()
        self._sha = ""
        self._encoder = msgspec.json.Encoder()
        self._decoder = msgspec.json.Decoder(Answer, strict=False)

    async def ask(self, question: Question) -> Answer:
        """Raises PoolsUnavailableError, DisownedError."""
        data = self._encoder.encode(question)
        try:
            try:
                answer = await self._redis.evalsha(self._sha, 0, self._ledger_name, data)
            except NoScriptError:
                self._sha = await self._redis.script_load(self._script)
                answer = await self._redis.evalsha(self._sha, 0, self._ledger_name, data)
            return self._decoder.decode(answer)
        except ResponseError as error:
            failed = DisownedError if str(error).startswith("DISOWNED") else PoolsUnavailableError
            raise failed(str(error)) from error
        except (RedisError, OSError, RuntimeError, msgspec.DecodeError) as error:
            # uvloop's is a RuntimeError: of a connection that broke before it was written to
            raise PoolsUnavailableError(str(error)) from error

    async def close(self) -> None:
        await self._redis.aclose()

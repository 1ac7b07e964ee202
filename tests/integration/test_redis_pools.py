"""What a connection to Redis can run into is told as one thing: the pools are away."""

from __future__ import annotations

import pytest
from redis.asyncio import Connection

from metering.pools import PoolsUnavailableError, Question
from metering.redis_pools import RedisPools

pytestmark = pytest.mark.anyio


def question(number: int) -> Question:
    return Question(
        member="m", writer="w", generation="", number=number, nonce="first", booked_seq=0
    )


@pytest.fixture
async def pools(redis):
    made = RedisPools(redis.url, ledger_name="ledger", timeout_ms=250)
    yield made
    await made.close()


@pytest.mark.parametrize("connected", [False, True])
async def test_a_connection_that_broke_before_it_is_written_to(pools, monkeypatch, connected):
    """As when the server is killed just then: uvloop raises what is no OSError."""
    if connected:
        await pools.ask(question(1))
    send = Connection._send_packed_command

    async def send_too_late(connection, command):
        connection._writer.transport.abort()
        await connection._writer.wait_closed()
        await send(connection, command)

    with monkeypatch.context() as patched:
        patched.setattr(Connection, "_send_packed_command", send_too_late)
        with pytest.raises(PoolsUnavailableError, match="handler is closed"):
            await pools.ask(question(2))
    assert (await pools.ask(question(3))).generation == "first"


async def test_a_server_that_is_gone(pools, redis):
    redis.kill()
    with pytest.raises(PoolsUnavailableError):
        await pools.ask(question(1))
    redis.start()
    assert (await pools.ask(question(2))).generation == "first"

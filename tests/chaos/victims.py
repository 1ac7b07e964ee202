"""Who dies in a round, and how."""

from __future__ import annotations

import asyncio
import random

from .gateway_process import GatewayProcess
from .stand import Stand

SQLITE_VICTIMS = (
    "worker",
    "gateway",
    "redis",
    "worker and redis",
    "gateway and redis",
    "flush",
)
POSTGRES_VICTIMS = (
    "gateway and postgres",
    "session",
    "redis and postgres",
    "gateway",
    "postgres",
    "redis",
    "flush and postgres",
    "gateways and postgres",
    "gateway and session",
    "gateway and redis and postgres",
    "flush",
    "gateways and redis and postgres",
)
"""`gateways` are all of them. A killed `session` of PostgreSQL takes all of its others with it, and
the server recovers by itself.
"""
POSTGRES_DEATHS = ("kill", "kill", "stop_at_once", "stop")
STAGGER_S = 0.2
GATEWAY_OUTAGE_S = 0.3
POSTGRES_OUTAGE_S = 2.0


async def kill(made: Stand, victim: str, rng: random.Random) -> list[GatewayProcess]:
    """One after another, in any order. Returns the gateways that have to be started again."""
    parts = victim.split(" and ")
    rng.shuffle(parts)
    killed: list[GatewayProcess] = []
    for part in parts:
        match part:
            case "worker":
                made.gateways[0].kill_worker(rng.randrange(2))
            case "gateway":
                killed = [rng.choice(made.gateways)]
            case "gateways":
                killed = list(made.gateways)
            case "redis":
                made.kill_redis()
            case "flush":
                made.redis.flush()
            case "postgres":
                await made.kill_postgres(rng.choice(POSTGRES_DEATHS))
            case "session":
                await asyncio.to_thread(made.kill_session)
        if part.startswith("gateway"):
            await asyncio.gather(*(gateway.kill() for gateway in killed))
        if rng.random() < 0.5:
            await asyncio.sleep(rng.random() * STAGGER_S)
    return killed


def outage_s(victim: str, rng: random.Random) -> float:
    return rng.random() * (POSTGRES_OUTAGE_S if "postgres" in victim else GATEWAY_OUTAGE_S)

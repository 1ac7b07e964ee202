"""Another gateway of the same Redis, as a process of its own that can be killed: it has requests on
node `a`, tells so, and goes on telling. `python hearing_gateway.py REDIS_URL REQUESTS`.
"""

from __future__ import annotations

import asyncio
import random
import sys

from gateway.routing.redis_hearsay import RedisHearsay
from router.policy import learned_policy
from router.registry import Registry
from router.router import Router
from router.types import NodeRecord, RequestFeatures

FEATURES = RequestFeatures(model="m", prompt_tokens=100, completion_tokens_max=50, stream=True)
CAPACITY = 8


def new_router() -> Router:
    registry = Registry()
    registry.update(
        "test",
        [
            NodeRecord(
                node_id=node_id, supplier_id="s", url="http://h", model="m", capacity=CAPACITY
            )
            for node_id in ("a", "b")
        ],
    )
    router = Router(registry, learned_policy(), random.Random(1))
    router.nodes(0)
    return router


def new_hearsay(router: Router, redis_url: str) -> RedisHearsay:
    return RedisHearsay(router, redis_url, ledger_name="test", timeout_ms=5_000)


async def main(redis_url: str, requests: int) -> None:
    router = new_router()
    for _ in range(requests):
        router.start(router.choose(FEATURES, 0, frozenset({"b"})))
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await new_hearsay(router, redis_url).run()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))

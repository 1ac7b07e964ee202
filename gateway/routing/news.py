"""What a router hears of nodes beside its own requests: their loads, what other gateways know."""

from __future__ import annotations

from collections.abc import Callable, Collection, Coroutine
from typing import Any

from gateway.config import Config
from gateway.nodes.load_reader import LoadReader
from gateway.nodes.upstream import Upstream
from router.router import Router
from router.types import NodeRecord


def news(
    config: Config,
    router: Router,
    upstream: Upstream,
    nodes: Callable[[], Collection[NodeRecord]],
    ledger_name: Callable[[], str],
) -> list[Coroutine[Any, Any, None]]:
    """What is to run for the gateway's lifetime, as far as it is configured. Raises LedgerError."""
    running = []
    if config.redis is not None:
        from gateway.routing.redis_hearsay import RedisHearsay  # here, because few need its 20 MB

        hearsay = RedisHearsay(
            router,
            config.redis.address(),
            ledger_name=ledger_name(),
            timeout_ms=config.redis.timeout_ms,
        )
        running.append(hearsay.run())
    if interval_s := config.router.load_interval_s:
        running.append(LoadReader(router, upstream, nodes, interval_s).run())
    return running

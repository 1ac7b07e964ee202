"""Models on a Ray cluster: may a request wait for a replica, and who asks Ray to start one."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

import msgspec

from serving.pool_state import PoolState

log = logging.getLogger("tollgate")

FIRST_GUESS_NS = 30_000_000_000
"""How long a start takes, as long as none was seen."""
AGAIN_S = 1.0


class _Wake(msgspec.Struct):
    """A start that was asked for."""

    apps: frozenset[str]
    asked_ns: int
    task: asyncio.Task[None]


class Waker:
    """`wait_ns`: how long a start is asked for. Times are monotonic."""

    def __init__(self, wait_ns: int, monotonic_ns: Callable[[], int]) -> None:
        self._wait_ns = wait_ns
        self._monotonic_ns = monotonic_ns
        self._pools: dict[str, list[PoolState]] = {}
        """By model, the one to be woken first first."""
        self._wakes: dict[str, _Wake] = {}
        self._took_ns: dict[str, int] = {}
        self.any_asleep = False
        """Some model has no replica."""

    def is_coming(self, model: str) -> bool:
        """Should it have no replica, Ray will start one, or is at it."""
        return model in self._pools

    def start_ns(self, model: str) -> int:
        """How long a start is likely to take from now on."""
        whole_ns = self._took_ns.get(model, FIRST_GUESS_NS)
        wake = self._wakes.get(model)
        return whole_ns if wake is None else max(whole_ns - self._since(wake), 0)

    def saw(self, pools: Sequence[PoolState]) -> None:
        """What Ray says of its pools now."""
        self._pools = {}
        for pool in sorted(pools, key=lambda pool: (pool.wake_order, pool.app)):
            if not pool.has_failed:
                self._pools.setdefault(pool.model, []).append(pool)
        self.any_asleep = any(
            not any(pool.running for pool in of_model) for of_model in self._pools.values()
        )
        running = {pool.app for pool in pools if pool.running}
        for model, wake in list(self._wakes.items()):
            if wake.apps & running:
                self._took_ns[model] = self._since(wake)
                wake.task.cancel()

    def ask(self, model: str) -> None:
        """Somebody wants it, and no replica can take it: wake a pool that has none."""
        if model in self._wakes:
            return
        sleeping = [pool for pool in self._pools[model] if pool.wake_url]
        if not sleeping:
            return  # Ray is at it by itself
        log.info("%s: asking Ray for a replica in %s", model, sleeping[0].pool)
        task = asyncio.get_running_loop().create_task(self._wake(model, sleeping))
        apps = frozenset(pool.app for pool in sleeping)
        self._wakes[model] = _Wake(apps, self._monotonic_ns(), task)
        task.add_done_callback(lambda _: self._wakes.pop(model))

    def close(self) -> None:
        for wake in self._wakes.values():
            wake.task.cancel()

    def _since(self, wake: _Wake) -> int:
        return self._monotonic_ns() - wake.asked_ns

    async def _wake(self, model: str, sleeping: list[PoolState]) -> None:
        """Hold a request open at Serve's proxy, which counts as load, until there is a replica or
        nobody waits any longer. After half of that time the next pool is woken too, and so on.
        """
        wait_s = self._wait_ns / 1e9
        try:
            async with asyncio.timeout(wait_s):
                await asyncio.gather(
                    *(
                        _hold_open(pool.wake_url, delay_s=wait_s * (1 - 0.5**place))
                        for place, pool in enumerate(sleeping)
                    )
                )
        except TimeoutError:
            log.warning("%s: Ray has started no replica in %g s", model, wait_s)


async def _hold_open(url: str, delay_s: float) -> None:
    """Ask for a replica's health, again and again, until cancelled."""
    await asyncio.sleep(delay_s)
    parts = urlsplit(url)
    head = f"GET {parts.path}/health HTTP/1.1\r\nhost: {parts.netloc}\r\nconnection: close\r\n\r\n"
    while True:
        try:
            reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
            try:
                writer.write(head.encode())
                await reader.read()
            finally:
                writer.close()
        except OSError as error:
            log.warning("Serve's proxy at %s cannot be asked: %s", url, error)
        await asyncio.sleep(AGAIN_S)

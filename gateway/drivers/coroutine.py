"""The coroutine driver: an exchange whose client is a coroutine of this process.

The node's bytes wait in a bounded queue between the two: when it is full, the node is read no
further until the coroutine has caught up.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

from gateway.admission.till import Till
from gateway.drivers.driver import Driver, Watcher
from gateway.exchange.actions import Respond
from gateway.exchange.exchange import Exchange
from gateway.exchange.told_limits import limit_headers
from gateway.nodes.upstream import Upstream

QUEUE_BYTES_HIGH = 256 * 1024
QUEUE_BYTES_LOW = 64 * 1024


class CoroutineDriver(Driver):
    """Once it is started, await `answered`, then iterate over `chunks`. Whoever wants no more of
    them must `leave`.
    """

    __slots__ = ("_answer", "_chunks", "_over", "_queued_bytes", "_slow", "_wake", "whole")

    def __init__(
        self, exchange: Exchange, till: Till, upstream: Upstream, watcher: Watcher
    ) -> None:
        super().__init__(exchange, till, upstream, watcher)
        self._answer: Respond | None = None
        self._chunks: list[bytes] = []
        self._queued_bytes = 0
        self._slow = False
        self.whole = False
        """The answer came to its end; it was not given up."""
        self._over = False
        self._wake = asyncio.Event()

    async def answered(self) -> Respond | None:
        """The answer's head, with its body if that is not a stream; None if it was given up."""
        while self._answer is None and not self._over:
            await self._woken()
        return self._answer

    async def chunks(self) -> AsyncIterator[bytes]:
        """The bytes of a stream, as they come, to its end or to where it was given up."""
        while self._chunks or not self._pauses():
            if not self._chunks:
                await self._woken()
            chunks, self._chunks = self._chunks, []
            self._queued_bytes = 0
            for chunk in chunks:
                yield chunk
            if self._slow and self._queued_bytes <= QUEUE_BYTES_LOW:
                self._slow = False
                self.resume()

    def _pauses(self) -> bool:
        """No more chunks come by themselves."""
        return self._over

    def leave(self) -> None:
        """The client is gone: the node is stopped, and what it generated is charged."""
        self.drop()
        self.client_gone()

    async def _woken(self) -> None:
        await self._wake.wait()
        self._wake.clear()

    # -- the client's side ------------------------------------------------------------------------

    def respond(self, answer: Respond) -> None:
        limits = self.exchange.limits
        if limits is not None:
            headers = answer.headers + limit_headers(limits, time.monotonic_ns())
            answer = Respond(answer.status, answer.content_type, answer.body, headers)
        self._answer = answer
        self._wake.set()

    def send(self, data: bytes) -> None:
        self._chunks.append(data)
        self._queued_bytes += len(data)
        self._wake.set()
        if self._queued_bytes > QUEUE_BYTES_HIGH and not self._slow:
            self._slow = True
            self.pause()

    def end(self) -> None:
        self.whole = True
        self._over = True
        self._wake.set()

    def drop(self) -> None:
        self._chunks.clear()
        self._over = True
        self._wake.set()

"""Reads nodes' load for the router: each vLLM's `/metrics`, one node after the other, over the same
connections as requests.

Each node is read every `interval_s`, all of them together no more than `READS_PER_S_MAX` times a
second, so that a hundred nodes cost no more than fifty. A read has one deadline for all of it. What
could not be read is not known: the router goes by its own counts then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection

from gateway.nodes.upstream import Upstream
from gateway.nodes.vllm_load import load_in
from router.router import Router
from router.types import Load, NodeRecord, Termination

DEADLINE_S = 2.0
ANSWER_BYTES_MAX = 4 * 1024 * 1024
READS_PER_S_MAX = 50.0
_IDLE_S = 1.0


class LoadReader:
    def __init__(
        self,
        router: Router,
        upstream: Upstream,
        nodes: Callable[[], Collection[NodeRecord]],
        interval_s: float,
    ) -> None:
        self._router = router
        self._upstream = upstream
        self._nodes = nodes
        self._interval_s = interval_s
        self._reading: dict[str, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """For the gateway's lifetime."""
        try:
            while True:
                nodes = [node for node in self._nodes() if node.engine == "vllm"]
                for node in nodes:
                    if node.node_id not in self._reading:
                        self._begin(node)
                    await asyncio.sleep(max(self._interval_s / len(nodes), 1 / READS_PER_S_MAX))
                if not nodes:
                    await asyncio.sleep(_IDLE_S)
        finally:
            for task in self._reading.values():
                task.cancel()

    def _begin(self, node: NodeRecord) -> None:
        task = asyncio.get_running_loop().create_task(self._read(node))
        self._reading[node.node_id] = task
        task.add_done_callback(lambda _: self._reading.pop(node.node_id))

    async def _read(self, node: NodeRecord) -> None:
        load: Load | None = None
        answer = _Answer()
        call = self._upstream.read(node, "/metrics", answer)
        try:
            async with asyncio.timeout(DEADLINE_S):
                if await answer.ended:
                    model, rtt_ns = node.served_model or node.model, self._upstream.rtt_ns(node)
                    load = load_in(b"".join(answer.parts), model, rtt_ns)
        except TimeoutError:
            pass
        finally:
            if not answer.ended.done() or answer.ended.cancelled():
                call.abort()
        self._router.report_load(node.node_id, load)


class _Answer:
    """A `NodeListener` that keeps what it hears; `ended` says whether it is worth reading."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.ended: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._bytes = 0
        self._good = False

    def node_head(self, status: int) -> None:
        self._good = status == 200

    def node_body(self, data: bytes) -> None:
        self._bytes += len(data)
        if self._bytes > ANSWER_BYTES_MAX:
            self._good = False
            self.parts.clear()
        elif self._good:
            self.parts.append(data)

    def node_end(self) -> None:
        self._end(self._good)

    def node_failed(self, termination: Termination) -> None:
        self._end(False)

    def _end(self, good: bool) -> None:
        if not self.ended.done():
            self.ended.set_result(good)

"""One canary on its way to one node: by the connections and in the form of any other request."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import msgspec

from gateway.nodes.upstream import Upstream
from gateway.openai.node_body import for_node
from gateway.openai.request import Endpoint, read
from router.router import Router
from router.types import Ask, Decision, NodeRecord, Reason, RequestFeatures, Termination

ANSWER_BYTES_MAX = 4 * 1024 * 1024


class Asker:
    """A request counts on its node while it lasts, and its end is evidence as any other's is."""

    def __init__(self, router: Router, upstream: Upstream, timeout_s: float) -> None:
        self._router = router
        self._upstream = upstream
        self._timeout_s = timeout_s

    async def ask(
        self, node: NodeRecord, question: dict[str, Any], account: str, request_id: str
    ) -> bytes | None:
        """The body of its answer; None if it did not answer, or with an error."""
        body = msgspec.json.encode(question)
        read_as = read(Endpoint.CHAT, body)
        read_as.account = account
        sent = for_node(
            read_as,
            body,
            served_model=node.served_model or node.model,
            is_vllm=node.engine == "vllm",
        )
        lease = self._router.start(_decision(node, read_as.stream))
        began_ns, reply = time.monotonic_ns(), _Reply()
        termination = Termination.CLIENT_GONE
        try:
            call = self._upstream.dial(node, Endpoint.CHAT.path, sent, request_id, reply)
            try:
                async with asyncio.timeout(self._timeout_s):
                    termination = await reply.ended
            except TimeoutError:
                termination = Termination.TIMEOUT
            finally:
                if not reply.ended.done() or reply.ended.cancelled():
                    call.abort()
        finally:
            first_ns = reply.first_byte_ns
            if first_ns is not None:
                lease.first_token(first_ns)
            ttft_ns = None if first_ns is None else first_ns - began_ns
            lease.finish(termination, time.monotonic_ns(), ttft_ns)
        return reply.body if termination is Termination.COMPLETED else None


class _Reply:
    """A `NodeListener` that keeps what it hears."""

    def __init__(self) -> None:
        self.ended: asyncio.Future[Termination] = asyncio.get_running_loop().create_future()
        self.first_byte_ns: int | None = None
        self._status = 0
        self._body = bytearray()

    @property
    def body(self) -> bytes:
        return bytes(self._body)

    def node_head(self, status: int) -> None:
        self._status = status

    def node_body(self, data: bytes) -> None:
        if self.first_byte_ns is None:
            self.first_byte_ns = time.monotonic_ns()
        self._body += data
        if len(self._body) > ANSWER_BYTES_MAX:
            self._end(Termination.NODE_ERROR)

    def node_end(self) -> None:
        self._end(Termination.COMPLETED if self._status == 200 else Termination.NODE_ERROR)

    def node_failed(self, termination: Termination) -> None:
        self._end(termination)

    def _end(self, termination: Termination) -> None:
        if not self.ended.done():
            self.ended.set_result(termination)


def _decision(node: NodeRecord, stream: bool) -> Decision:
    """As if the router had chosen it: canaries go where nothing else may go, too."""
    features = RequestFeatures(
        model=node.model, prompt_tokens=64, completion_tokens_max=64, stream=stream
    )
    ask = Ask(features, time.monotonic_ns(), expected_tokens=48.0, prompt_tokens=64)
    return Decision(node=node, reason=Reason.CHOSEN, ask=ask, seen=(), draw=0)

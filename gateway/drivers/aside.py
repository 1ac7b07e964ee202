"""A question that makes a node generate nothing, so that it costs nothing: how a prompt tokenises.

Nothing is charged, held or metered, but the node's place is taken for as long as it lasts.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

import msgspec

from gateway import errors
from gateway.admission.catalogue import Catalogue
from gateway.nodes.upstream import Upstream
from gateway.openai import node_errors
from router.router import Router
from router.types import NodeRecord, RequestFeatures, Termination

ATTEMPTS_MAX = 2
"""Nodes asked before the caller is told."""

TIMEOUT_S = 30.0
ANSWER_BYTES_MAX = 64 * 1024 * 1024
ENGINE = "vllm"
"""Its routes beside OpenAI's are the ones known here."""


_TOLD = node_errors.CLIENT_FAULT_STATUSES | {200}


class Aside:
    def __init__(self, router: Router, catalogue: Catalogue, upstream: Upstream) -> None:
        self._router = router
        self._catalogue = catalogue
        self._upstream = upstream

    async def ask(self, path: str, body: dict[str, Any], request_id: str) -> dict[str, Any]:
        """What a node of `body["model"]` answers to a POST of this. Raises ApiError."""
        model = str(body["model"])
        if self._catalogue.get(model) is None:
            raise errors.unknown_model(model)
        now_ns = time.monotonic_ns()
        listed = [view.node for view in self._router.nodes(now_ns) if view.node.model == model]
        unfit = frozenset(node.node_id for node in listed if node.engine != ENGINE)
        if listed and len(unfit) == len(listed):
            raise errors.unsupported_endpoint(model, path)
        tried = unfit
        while len(tried - unfit) < ATTEMPTS_MAX:
            decision = self._router.choose(_features(model), time.monotonic_ns(), tried)
            node = decision.node
            if node is None:
                raise errors.no_capacity(model, decision.retry_after_ns)
            lease = self._router.start(decision)
            termination, answer = Termination.CLIENT_GONE, _Answer()
            try:
                termination = await self._post(node, path, body, request_id, answer)
            finally:
                lease.finish(termination, time.monotonic_ns())
            if termination is Termination.COMPLETED:
                return answer.told()
            tried |= {node.node_id}
        raise errors.node_failed(f"The model's server failed ({ATTEMPTS_MAX} tried).")

    async def _post(
        self, node: NodeRecord, path: str, body: dict[str, Any], request_id: str, answer: _Answer
    ) -> Termination:
        sent = msgspec.json.encode(body | {"model": node.served_model or node.model})
        call = self._upstream.dial(node, path, sent, request_id, answer)
        try:
            async with asyncio.timeout(TIMEOUT_S):
                termination = await answer.ended
        except TimeoutError:
            termination = Termination.TIMEOUT
        finally:
            if not answer.ended.done() or answer.ended.cancelled():
                call.abort()
        if termination is not Termination.COMPLETED or answer.status in _TOLD:
            return termination
        overloaded = answer.status in node_errors.OVERLOADED_STATUSES
        return Termination.OVERLOADED if overloaded else Termination.NODE_ERROR


class _Answer:
    """A `NodeListener` that keeps what it hears."""

    def __init__(self) -> None:
        self.status = 0
        self.ended: asyncio.Future[Termination] = asyncio.get_running_loop().create_future()
        self._parts: list[bytes] = []
        self._bytes = 0

    def node_head(self, status: int) -> None:
        self.status = status

    def node_body(self, data: bytes) -> None:
        self._bytes += len(data)
        if self._bytes > ANSWER_BYTES_MAX:
            self._end(Termination.NODE_ERROR)
        else:
            self._parts.append(data)

    def node_end(self) -> None:
        self._end(Termination.COMPLETED)

    def node_failed(self, termination: Termination) -> None:
        self._end(termination)

    def _end(self, termination: Termination) -> None:
        if not self.ended.done():
            self.ended.set_result(termination)

    def told(self) -> dict[str, Any]:
        """Raises ApiError: the node's refusal in OpenAI's words, or that it made no sense."""
        body = b"".join(self._parts)
        if self.status != 200:
            raise node_errors.translate(self.status, body, prompt_param="messages")
        try:
            return msgspec.json.decode(body, type=dict[str, Any])
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise errors.node_failed("The model's server answered what is no JSON.") from None


def _features(model: str) -> RequestFeatures:
    return RequestFeatures(model=model, prompt_tokens=1, completion_tokens_max=0, stream=False)

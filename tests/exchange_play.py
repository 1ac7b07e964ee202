"""An exchange over real router and pure parts, played event by event in tests."""

from __future__ import annotations

import json
import random
from functools import partial

from msgspec.structs import replace

from gateway.exchange.actions import Record, Send
from gateway.exchange.exchange import Exchange
from gateway.exchange.failover import Failover
from gateway.exchange.waking import WakingExchange
from gateway.openai.request import Endpoint, read
from gateway.timeouts import Timeouts
from metering.charge import CloseCharge, OpenCharge
from metering.prices import ModelPrice
from metering.usage import Usage
from router.policy import Policy
from router.registry import Registry
from router.router import Router
from router.types import NodeRecord, RequestFeatures, Termination

PRICE = ModelPrice(
    version="1", prompt_nano_usd=200, cached_prompt_nano_usd=100, completion_nano_usd=600
)
ANSWER = (
    b'{"choices":[{"message":{"content":"Hi"},"finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":7,"completion_tokens":2}}'
)
SECOND = 1_000_000_000
KEEP_ALIVE = b": keep-alive\n\n"
DONE = b"data: [DONE]\n\n"
CLOSING = b'data: {"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":3}}\n\n'


def event(text: str, completion: int | None) -> bytes:
    figures = b""
    if completion is not None:
        figures = (
            b',"usage":{"prompt_tokens":7,"total_tokens":9,"completion_tokens":%d}' % completion
        )
    return b'data: {"choices":[{"index":0,"delta":{"content":"%b"}}]%b}\n\n' % (
        text.encode(),
        figures,
    )


class Play:
    """One exchange over real router and pure parts; gathers the actions by kind."""

    def __init__(
        self,
        *,
        stream: bool = True,
        nodes: int = 2,
        engine: str = "vllm",
        endpoint=Endpoint.CHAT,
        wait_s: float | None = None,
        others: str | None = None,
        failover: Failover | None = None,
        policy: Policy | None = None,
    ) -> None:
        """`wait_s`: so long it waits for a first node. `others` is the engine of all nodes but the
        one that is asked first.
        """
        self._registry, self._engine = Registry(), engine
        self.list_nodes(nodes)
        self.router = Router(self._registry, policy or Policy(), random.Random(1))
        if endpoint is Endpoint.EMBEDDINGS:
            body = b'{"model":"m","input":"hi"}'
        else:
            fields = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
            body = json.dumps({**fields, "stream": stream}).encode()
        question = read(endpoint, body)
        features = RequestFeatures(
            model="m", prompt_tokens=9, completion_tokens_max=50, stream=stream
        )
        charge = OpenCharge(
            charge_id="c1",
            request_id="r1",
            account="acme",
            key_id="k1",
            model="m",
            price=PRICE,
            hold_nano_usd=100_000,
            prompt_tokens_estimate=9,
            created_ns=1_000,
        )
        kind = Exchange
        if wait_s is not None:
            kind = partial(WakingExchange, wait_ns=int(wait_s * SECOND))
        self.exchange = kind(
            charge,
            question,
            body,
            decision=self.router.choose(features, 0),
            router=self.router,
            timeouts=Timeouts(keep_alive_ns=SECOND),
            estimate=lambda _, text: Usage(prompt_tokens=5, completion_tokens=len(text)),
            failover=failover or Failover(),
        )
        if others is not None:
            first = self.exchange.first.node_id
            nodes_listed = self._registry.nodes.values()
            records = [
                each if each.node_id == first else replace(each, engine=others)
                for each in nodes_listed
            ]
            self._registry.update("test", records)
        self.actions: list = []
        self.now_ns = 10
        self.do(self.exchange.start(self.now_ns))

    def list_nodes(self, count: int) -> Play:
        """From now on there are so many."""
        records = [
            NodeRecord(
                node_id=f"n{i}",
                supplier_id=f"s{i}",
                url=f"http://127.0.0.1:{9000 + i}",
                model="m",
                capacity=4,
                engine=self._engine,
            )
            for i in range(count)
        ]
        self._registry.update("test", records)
        return self

    def sweep(self, seconds: float = 0) -> Play:
        """So much later, as a driver's sweep does it."""
        self.now_ns += int(seconds * SECOND)
        deadline_ns = self.exchange.deadline_ns
        if deadline_ns is not None and self.now_ns >= deadline_ns:
            self.do(self.exchange.expired(self.now_ns))
        return self

    def do(self, actions: list) -> list:
        self.actions += actions
        return actions

    def opened(self) -> Play:
        if self.of(Record)[0].awaited:
            self.do(self.exchange.durable(None, self.tick()))
        return self

    def closed(self) -> Play:
        self.do(self.exchange.durable(None, self.tick()))
        return self

    def head(self, status: int = 200) -> Play:
        self.exchange.node_head(status, self.tick())
        return self

    def body(self, *chunks: bytes) -> Play:
        for chunk in chunks:
            passed = self.exchange.node_body(chunk, self.tick())
            self.do([Send(passed)] if isinstance(passed, bytes) else passed)
        return self

    def node_end(self) -> Play:
        self.do(self.exchange.node_end(self.tick()))
        return self

    def silence(self, seconds: float = 1.1) -> Play:
        """So long nothing comes, and then the sweep."""
        self.now_ns += int(seconds * SECOND)
        if self.now_ns >= self.exchange.keep_alive_at_ns:
            self.do(self.exchange.keep_alive(self.now_ns))
        return self

    def failed(self, termination: Termination = Termination.CONNECT_ERROR) -> Play:
        self.do(self.exchange.node_failed(termination, self.tick()))
        return self

    def tick(self) -> int:
        self.now_ns += 1_000
        return self.now_ns

    def of(self, kind: type) -> list:
        return [action for action in self.actions if type(action) is kind]

    @property
    def sent(self) -> bytes:
        return b"".join(action.data for action in self.of(Send))

    @property
    def close(self) -> CloseCharge:
        (row,) = [a.row for a in self.of(Record) if isinstance(a.row, CloseCharge)]
        return row

    @property
    def in_flight(self) -> int:
        return sum(view.in_flight for view in self.router.nodes(self.now_ns))

"""What both drivers of an exchange share: its actions carried out towards node and spool.

A driver owns the sockets and the clock; the exchange decides. The client's side is left to the two
subclasses: `asgi.py` and `protocol.py`.
"""

from __future__ import annotations

import time
from typing import Protocol

from gateway.admission.till import Till
from gateway.exchange.actions import Action, Dial, Drop, End, HangUp, Record, Respond, Send
from gateway.exchange.exchange import Exchange
from gateway.exchange.state import State
from gateway.nodes.upstream import Call, Upstream
from router.types import Termination

_ENDED = State.ENDED


class Watcher(Protocol):
    """Who follows exchanges: the deadline sweep and the metrics."""

    def began(self, driver: Driver) -> None: ...

    def ended(self, driver: Driver) -> None: ...


class Driver:
    """One exchange under way. Subclasses implement the client's side."""

    __slots__ = ("_call", "_till", "_upstream", "_watcher", "exchange")

    def __init__(
        self, exchange: Exchange, till: Till, upstream: Upstream, watcher: Watcher
    ) -> None:
        self.exchange = exchange
        self._till = till
        self._upstream = upstream
        self._watcher = watcher
        self._call: Call | None = None

    def start(self) -> None:
        self._watcher.began(self)
        self.perform(self.exchange.start(time.monotonic_ns()))

    def perform(self, actions: list[Action]) -> None:
        """Carry actions out in order, then note the end."""
        written = False
        for action in actions:
            kind = type(action)
            if kind is Record:
                on_durable = self._durable if action.awaited else None  # type: ignore[union-attr]
                self._till.record(action.row, on_durable)  # type: ignore[union-attr]
            elif kind is Send:
                self.send(action.data)  # type: ignore[union-attr]
                written = True
            elif kind is Respond:
                self.respond(action)  # type: ignore[arg-type]
                written = True
            elif kind is Dial:
                self._dial(action)  # type: ignore[arg-type]
            elif kind is End:
                self.end()
                written = False
            elif kind is HangUp:
                self._hang_up()
            else:
                assert kind is Drop
                self.drop()
        if written:
            self.flush()
        if self.exchange.state is _ENDED:
            self._finish()

    # -- the client's side, for subclasses --------------------------------------------------------

    def respond(self, answer: Respond) -> None:
        """Begin the answer; where the key stands with its limits goes with its headers."""
        raise NotImplementedError

    def send(self, data: bytes) -> None:
        raise NotImplementedError

    def flush(self) -> None:
        """Nothing more is to be sent for now."""

    def end(self) -> None:
        """The answer is whole; what was not flushed goes out with its end."""
        raise NotImplementedError

    def drop(self) -> None:
        raise NotImplementedError

    def client_gone(self) -> None:
        self.perform(self.exchange.client_gone(time.monotonic_ns()))

    def pause(self) -> None:
        """The client reads too slowly: stop reading from the node, so that nothing piles up."""
        if self._call is not None:
            self._call.pause_reading()
            self.exchange.client_slow(time.monotonic_ns())

    def resume(self) -> None:
        if self._call is not None:
            self.exchange.client_ready(time.monotonic_ns())
            self._call.resume_reading()

    # -- NodeListener -----------------------------------------------------------------------------

    def node_head(self, status: int) -> None:
        self.exchange.node_head(status, time.monotonic_ns())

    def node_body(self, data: bytes) -> None:
        passed = self.exchange.node_body(data, time.monotonic_ns())
        if isinstance(passed, bytes):
            self.send(passed)
            self.flush()
        elif passed:
            self.perform(passed)

    def node_end(self) -> None:
        self._call = None
        self.perform(self.exchange.node_end(time.monotonic_ns()))

    def node_failed(self, termination: Termination) -> None:
        self._call = None
        self.perform(self.exchange.node_failed(termination, time.monotonic_ns()))

    # -- the sweep --------------------------------------------------------------------------------

    def sweep(self, now_ns: int) -> None:
        """Called a few times a second for every exchange under way."""
        exchange = self.exchange
        deadline_ns = exchange.deadline_ns
        if deadline_ns is not None and now_ns >= deadline_ns:
            self.perform(exchange.expired(now_ns))
        elif now_ns >= exchange.keep_alive_at_ns:
            self.perform(exchange.keep_alive(now_ns))

    # -- inside -----------------------------------------------------------------------------------

    def _dial(self, dial: Dial) -> None:
        request_id = self.exchange.charge.request_id
        self._call = self._upstream.dial(dial.node, dial.path, dial.body, request_id, self)
        if self.exchange.client_stalls:
            self._call.pause_reading()

    def _hang_up(self) -> None:
        if self._call is not None:
            self._call.abort()
            self._call = None

    def _durable(self, failure: Exception | None) -> None:
        self.perform(self.exchange.durable(failure, time.monotonic_ns()))

    def _finish(self) -> None:
        """Idempotent: actions of an ended exchange may still trickle in."""
        if self._call is not None:
            self._call.detach()
            self._call = None
        self._watcher.ended(self)

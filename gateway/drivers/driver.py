"""What both drivers of an exchange share: its actions carried out towards node and spool.

A driver owns the sockets and the clock; the exchange decides. The client's side is left to the two
subclasses: `asgi.py` and `protocol.py`.
"""

from __future__ import annotations

import time
from typing import Protocol

from gateway.admission.till import Till
from gateway.exchange.actions import (
    Action,
    Dial,
    DialRival,
    Drop,
    DropRival,
    End,
    HangUp,
    Record,
    Respond,
    Send,
    TakeRival,
)
from gateway.exchange.exchange import Exchange
from gateway.exchange.state import State
from gateway.nodes.connection import NodeListener
from gateway.nodes.upstream import Call, Upstream
from gateway.openai import node_errors
from router.types import Termination

_ENDED = State.ENDED


class Watcher(Protocol):
    """Who follows exchanges: the deadline sweep and the metrics."""

    def began(self, driver: Driver) -> None: ...

    def ended(self, driver: Driver) -> None: ...


class Driver:
    """One exchange under way. Subclasses implement the client's side."""

    __slots__ = ("_call", "_rival", "_till", "_upstream", "_watcher", "exchange")

    def __init__(
        self, exchange: Exchange, till: Till, upstream: Upstream, watcher: Watcher
    ) -> None:
        self.exchange = exchange
        self._till = till
        self._upstream = upstream
        self._watcher = watcher
        self._call: Call | None = None
        self._rival: Rival | None = None

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
            elif kind is Drop:
                self.drop()
            else:
                self._beside(action)
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
        if now_ns >= exchange.hedge_at_ns:
            self.perform(exchange.hedge(now_ns))

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

    # -- the node that is asked beside ------------------------------------------------------------

    def _beside(self, action: Action) -> None:
        if isinstance(action, DialRival):
            self._rival = Rival(self, action)
        elif isinstance(action, TakeRival):
            self._take_rival()
        else:
            assert isinstance(action, DropRival), action
            self._drop_rival()

    def ask_beside(self, dial: DialRival, listener: NodeListener) -> Call:
        request_id = self.exchange.charge.request_id
        return self._upstream.dial(dial.node, dial.path, dial.body, request_id, listener)

    def rival_answers(self, data: bytes) -> None:
        """Its first bytes: one of the two is let go of."""
        if self.exchange.rival_answers(time.monotonic_ns()):
            self._take_rival()
            self.node_body(data)
        else:
            self._drop_rival()

    def rival_failed(self, termination: Termination) -> None:
        self._drop_rival()
        self.exchange.rival_failed(termination, time.monotonic_ns())

    def _take_rival(self) -> None:
        rival, self._rival = self._rival, None
        assert rival is not None, "it was asked"
        self._hang_up()
        self._call = rival.call
        self._call.listener = self

    def _drop_rival(self) -> None:
        if self._rival is not None:
            self._rival.call.abort()
            self._rival = None

    def _durable(self, failure: Exception | None) -> None:
        self.perform(self.exchange.durable(failure, time.monotonic_ns()))

    def _finish(self) -> None:
        """Idempotent: actions of an ended exchange may still trickle in."""
        if self._rival is not None:
            self._drop_rival()
        if self._call is not None:
            self._call.detach()
            self._call = None
        self._watcher.ended(self)


class Rival:
    """Listens to the node that is asked beside one that is late, until either says something."""

    __slots__ = ("_driver", "call")

    def __init__(self, driver: Driver, dial: DialRival) -> None:
        self._driver = driver
        self.call = driver.ask_beside(dial, self)

    def node_head(self, status: int) -> None:
        if status == 200:
            self._driver.exchange.rival_head()
        else:
            overloaded = status in node_errors.OVERLOADED_STATUSES
            self._driver.rival_failed(
                Termination.OVERLOADED if overloaded else Termination.NODE_ERROR
            )

    def node_body(self, data: bytes) -> None:
        if self.call.listener is self:
            self._driver.rival_answers(data)

    def node_end(self) -> None:
        self._driver.rival_failed(Termination.BROKEN)

    def node_failed(self, termination: Termination) -> None:
        self._driver.rival_failed(termination)

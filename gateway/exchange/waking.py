"""A request whose model has no replica yet: it waits for one, then goes on as any other.

Everything that holds while a node is silent holds here: the client of a stream is told that we are
still here, one that leaves ends it, and what a request may cost stays reserved.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from gateway.exchange.actions import Action, Record
from gateway.exchange.attempt import Attempt
from gateway.exchange.exchange import Exchange
from gateway.exchange.state import State
from gateway.routing.preferences import refusal
from metering.charge import ChargeOutcome
from router.filters import PREFERENCES
from router.types import NodeRecord, Termination

if TYPE_CHECKING:
    from router.router import Lease

LOOK_NS = 200_000_000


class _Nobody:
    """Stands for the node that is not there: what is recorded of it is nothing."""

    node_id = supplier_id = None
    engine = "openai"


class _NoLease:
    def finish(self, *_: object) -> None:
        """Nothing ran anywhere."""


class WakingExchange(Exchange):
    def __init__(self, *args: Any, wait_ns: int, **others: Any) -> None:
        """`wait_ns` from its start is the longest that it waits; the rest is an exchange's."""
        super().__init__(*args, **others)
        self._wait_ns = wait_ns

    def start(self, now_ns: int) -> list[Action]:
        """The opening row goes out while we wait."""
        self.started_ns = now_ns
        if self.question.stream and self._timeouts.keep_alive_ns:
            self.keep_alive_at_ns = now_ns + self._timeouts.keep_alive_ns
        nobody, no_lease = cast(NodeRecord, _Nobody()), cast("Lease", _NoLease())
        self.attempt = Attempt(nobody, no_lease, self.question, self._estimate)
        self.attempts = 1
        self.state = State.WAKING
        self.deadline_ns = now_ns + LOOK_NS
        return [Record(self.charge, not self._opened)]

    def expired(self, now_ns: int) -> list[Action]:
        """Time to look whether there is a node."""
        if self.state is not State.WAKING:
            return super().expired(now_ns)
        decision = self._router.choose(self.first.ask.features, now_ns)
        if decision.node is not None:
            self.first, self.attempts = decision, 0
            return [self._dial(decision, now_ns)]
        unmet = decision.reason in PREFERENCES
        if unmet or now_ns >= self.started_ns + self._wait_ns:
            outcome = ChargeOutcome.NO_CAPACITY
            return self._fail(refusal(decision), outcome, Termination.OVERLOADED, now_ns)
        self.deadline_ns = now_ns + LOOK_NS
        return self.keep_alive(now_ns) if now_ns >= self.keep_alive_at_ns else []

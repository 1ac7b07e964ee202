"""A request whose model has no replica yet: it waits for one, then goes on as any other.

Everything that holds while a node is silent holds here: the client of a stream is told that we are
still here, one that leaves ends it, and what a request may cost stays reserved.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import msgspec

from gateway.exchange.actions import Action, Record
from gateway.exchange.attempt import Attempt, Counted
from gateway.exchange.exchange import Exchange
from gateway.exchange.state import State
from gateway.routing.preferences import refusal
from metering.charge import ChargeOutcome, CloseCharge
from router.filters import PREFERENCES
from router.types import NodeRecord, Termination

if TYPE_CHECKING:
    from router.router import Lease

LOOK_NS = 200_000_000
NOBODY = "none"
"""What metrics call the node of a request that ended before there was one."""


class _NoLease:
    def finish(self, *_: object) -> None:
        """Nothing ran anywhere."""

    def silent(self, *_: object) -> None:
        """Nor was there anything to hear."""


class WakingExchange(Exchange):
    """An exchange without a node, and from when there is one, an exchange."""

    __slots__ = ("_wait_ns", "_waits")

    def __init__(self, *args: Any, wait_ns: int, **others: Any) -> None:
        """`wait_ns` from its start is the longest that it waits; the rest is an exchange's."""
        super().__init__(*args, **others)
        self._wait_ns = wait_ns
        self._waits = True

    def start(self, now_ns: int) -> list[Action]:
        """The opening row goes out while we wait."""
        self.started_ns = now_ns
        if self.question.stream and self._timeouts.keep_alive_ns:
            self.keep_alive_at_ns = now_ns + self._timeouts.keep_alive_ns
        nobody = NodeRecord(
            node_id=NOBODY,
            supplier_id=NOBODY,
            url="http://none.invalid",
            model=self.question.model,
            capacity=1,
        )
        lease = cast("Lease", _NoLease())
        self.attempt = Attempt(nobody, lease, self.question, self._estimate)
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
            self.first, self.attempts, self._waits = decision, 0, False
            return [self._dial(decision, now_ns)]
        unmet = decision.reason in PREFERENCES
        if unmet or now_ns >= self.started_ns + self._wait_ns:
            outcome = ChargeOutcome.NO_CAPACITY
            return self._fail(refusal(decision), outcome, Termination.OVERLOADED, now_ns)
        self.deadline_ns = now_ns + LOOK_NS
        return self.keep_alive(now_ns) if now_ns >= self.keep_alive_at_ns else []

    def _settle(
        self,
        outcome: ChargeOutcome,
        termination: Termination,
        counted: Counted | None,
        now_ns: int,
    ) -> list[Action]:
        settled = super()._settle(outcome, termination, counted, now_ns)
        return [_of_nobody(action) for action in settled] if self._waits else settled


def _of_nobody(action: Action) -> Action:
    """The books know no node that is not there."""
    if not isinstance(action, Record) or not isinstance(action.row, CloseCharge):
        return action
    return Record(msgspec.structs.replace(action.row, node_id=None, supplier_id=None))

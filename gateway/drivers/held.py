"""A coroutine driver whose answer can be kept somewhere durable before it is charged.

When the node's answer is whole, its charge is not closed yet: the answer is `offered`. The client
takes it, and the charge is closed and the answer delivered as ever; or it leaves, and the charge is
closed without a cost. So no crash can come between a charge and the answer that it was for: nor is
noted how far a stream is, so one that a crash cuts off is free.
"""

from __future__ import annotations

import msgspec

from gateway.admission.till import Till
from gateway.drivers.coroutine import CoroutineDriver
from gateway.drivers.driver import Watcher
from gateway.exchange.actions import Action, Record, Respond, Send
from gateway.exchange.exchange import Exchange
from gateway.nodes.upstream import Upstream
from metering.charge import ChargeOutcome, ChargeProgress, CloseCharge

_ANSWERED = (ChargeOutcome.COMPLETED, ChargeOutcome.EMPTY)


class HeldDriver(CoroutineDriver):
    """Of a stream, `chunks` ends where the answer is offered, and goes on once it is taken."""

    __slots__ = ("_held", "_taken")

    def __init__(
        self, exchange: Exchange, till: Till, upstream: Upstream, watcher: Watcher
    ) -> None:
        super().__init__(exchange, till, upstream, watcher)
        self._held: CloseCharge | None = None
        self._taken = False

    @property
    def is_offered(self) -> bool:
        """The answer is whole: leaving now would throw it away."""
        return self._held is not None or self._taken

    async def offered(self) -> Respond | None:
        """The whole answer, or the head of a stream that came whole already; None if there is none
        yet or will be none: `answered` says what there is instead.
        """
        while (offered := self._offered()) is None and self._answer is None and not self._over:
            await self._woken()
        return offered

    def owed(self) -> list[bytes]:
        """What is still to come of a stream that is offered."""
        return [action.data for action in self.exchange.owed if type(action) is Send]

    def take(self) -> None:
        """Close the charge; `answered`, or a stream's end, comes once that is durable."""
        held, self._held, self._taken = self._held, None, True
        assert held is not None, "there is nothing to take before it is offered"
        self.perform([Record(held)])

    def perform(self, actions: list[Action]) -> None:
        super().perform([action for action in actions if not self._keeps_back(action)])

    def client_gone(self) -> None:
        held, self._held = self._held, None
        if held is not None:
            self._taken = True
            free = msgspec.structs.replace(
                held, outcome=ChargeOutcome.CLIENT_GONE, usage=None, usage_source=None
            )
            self.exchange.outcome, self.exchange.usage = free.outcome, None
            self._till.record(free, None)
        super().client_gone()

    def _pauses(self) -> bool:
        return self._over or self._offered() is not None

    def _offered(self) -> Respond | None:
        if self._held is None:
            return None
        heads = (action for action in self.exchange.owed if type(action) is Respond)
        return next(heads, self._answer)

    def _keeps_back(self, action: Action) -> bool:
        if type(action) is not Record or self._taken:
            return False
        row = action.row
        if type(row) is CloseCharge and row.outcome in _ANSWERED:
            self._held = row
            self._wake.set()
        return row is self._held or type(row) is ChargeProgress

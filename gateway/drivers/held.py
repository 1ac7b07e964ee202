"""A coroutine driver whose answer can be kept somewhere durable before it is charged.

When the node's answer is whole, its charge is not closed yet: the answer is `offered`. The client
takes it, and the charge is closed and the answer delivered as ever; or it leaves, and the charge is
closed without a cost. So no crash can come between a charge and the answer that it was for.
"""

from __future__ import annotations

import msgspec

from gateway.admission.till import Till
from gateway.drivers.coroutine import CoroutineDriver
from gateway.drivers.driver import Watcher
from gateway.exchange.actions import Action, Record, Respond
from gateway.exchange.exchange import Exchange
from gateway.nodes.upstream import Upstream
from metering.charge import ChargeOutcome, CloseCharge

_ANSWERED = (ChargeOutcome.COMPLETED, ChargeOutcome.EMPTY)


class HeldDriver(CoroutineDriver):
    """For answers that are not streamed."""

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
        """The whole answer; None if there is none: `answered` says what there is instead."""
        while self._held is None and self._answer is None and not self._over:
            await self._woken()
        if self._held is None:
            return None
        return next(action for action in self.exchange.owed if type(action) is Respond)

    def take(self) -> None:
        """Close the charge; `answered` returns once that is durable."""
        held, self._held, self._taken = self._held, None, True
        assert held is not None, "there is nothing to take before it is offered"
        self.perform([Record(held)])

    def perform(self, actions: list[Action]) -> None:
        closing = None if self._taken else _closing(actions)
        if closing is None:
            super().perform(actions)
        else:
            self._held = closing
            self._wake.set()

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


def _closing(actions: list[Action]) -> CloseCharge | None:
    """The end of a charge whose answer is whole."""
    for action in actions:
        if type(action) is Record and type(action.row) is CloseCharge:
            return action.row if action.row.outcome in _ANSWERED else None
    return None

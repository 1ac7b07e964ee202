"""Requests for models that have no replica now: which of them wait for one."""

from __future__ import annotations

from functools import partial

from gateway.exchange.waking import WakingExchange
from gateway.pools.waker import Waker
from metering.keys import ApiKey
from router.types import Decision


class Waking:
    def __init__(self, waker: Waker | None) -> None:
        """None: there is no cluster that could start one."""
        self._waker = waker
        self.exchange = partial(WakingExchange, wait_ns=0 if waker is None else waker.wait_ns)

    @property
    def any_asleep(self) -> bool:
        """A model without a replica is not full, whatever others are."""
        return self._waker is not None and self._waker.any_asleep

    def is_coming(self, model: str) -> bool:
        return self._waker is not None and self._waker.is_coming(model)

    def waits(self, decision: Decision, key: ApiKey) -> bool:
        """Whether a request for which there is no node waits; either way it wakes a replica.

        Where there are nodes, and they are full, it does not: others' requests end sooner than
        an engine starts.
        """
        model = decision.ask.features.model
        if self._waker is None or not self._waker.is_coming(model):
            return False
        self._waker.ask(model)
        return not (decision.seen or key.refuses_waking)

    def retry_after_ns(self, decision: Decision) -> int:
        """For one that does not wait."""
        model = decision.ask.features.model
        if self._waker is None or decision.seen or not self._waker.is_coming(model):
            return decision.retry_after_ns
        return self._waker.start_ns(model)

"""Requests for models that have no replica now: which of them wait for one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from gateway.errors import model_drained, no_capacity
from gateway.exchange.waking import WakingExchange
from gateway.pools.config import RayConfig
from gateway.pools.waker import Waker
from gateway.routing.preferences import refusal
from metering.keys import ApiKey
from router.filters import PREFERENCES
from router.types import Decision
from serving.pool_state import PoolState


class Waking:
    def __init__(
        self,
        ray: RayConfig | None,
        monotonic_ns: Callable[[], int],
        is_drained: Callable[[str], bool] = lambda _: False,
    ) -> None:
        """None: there is no cluster that could start one. `is_drained`: the operator wants a model
        to have none.
        """
        self.is_drained = is_drained
        wait_ns = 0 if ray is None else ray.wake_wait_s * 10**9
        self._waker = None if ray is None else Waker(wait_ns, monotonic_ns)
        self.exchange = partial(WakingExchange, wait_ns=wait_ns)

    @property
    def any_asleep(self) -> bool:
        """A model without a replica is not full, whatever others are."""
        return self._waker is not None and self._waker.any_asleep

    def is_coming(self, model: str) -> bool:
        return self._waker is not None and self._waker.is_coming(model)

    def saw(self, pools: Sequence[PoolState]) -> None:
        """What Ray says of its pools now."""
        if self._waker is not None:
            self._waker.saw(pools)

    def close(self) -> None:
        """Nobody waits any more."""
        if self._waker is not None:
            self._waker.close()

    def check(self, decision: Decision, key: ApiKey) -> None:
        """Wake a replica for a request that has no node, which then waits for it.

        Raises ApiError (404, 429) if it does not. Where there are nodes, and they are full, none
        waits: others' requests end sooner than an engine starts.
        """
        model, waker = decision.ask.features.model, self._waker
        if self.is_drained(model):
            raise model_drained(model)
        if waker is None or not waker.is_coming(model) or decision.reason in PREFERENCES:
            raise refusal(decision)
        waker.ask(model)
        if decision.seen:
            raise refusal(decision)
        if key.refuses_waking:
            raise no_capacity(model, waker.start_ns(model))

"""Follows requests from their end into the ledger, and then has their traces sent."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence

from gateway.admission.till import Till
from gateway.exchange.exchange import Exchange
from gateway.telemetry.counts import Counts
from gateway.traces.config import TracesConfig
from gateway.traces.otlp import Otlp
from gateway.traces.otlp_metrics import OtlpMetrics
from gateway.traces.spans import Ended, trace_of

LOOK_S = 0.2
"""How often it is seen what the ledger took: so exact is the time of that."""
PENDING_MAX = 4_096
"""Requests that wait for the ledger; of more, the oldest are sent as they are."""
BOOKED_WITHIN_S = 60.0


class Traces:
    def __init__(
        self, config: TracesConfig, till: Till, instance: str, counts: Callable[[], Counts]
    ) -> None:
        assert config.otlp_url is not None
        self._one_in = config.one_in
        self._till = till
        self._otlp = Otlp(config.otlp_url, instance)
        self.metrics = OtlpMetrics(config.otlp_url, instance, counts)
        self._left = 1
        self._pending: deque[Ended] = deque()

    def ended(self, exchange: Exchange) -> None:
        """Called once for every exchange."""
        self._left -= 1
        if self._left:
            return
        self._left = self._one_in
        self._pending.append(
            Ended(
                exchange=exchange,
                ended_ns=time.monotonic_ns(),
                spool_seq=self._till.recorded_seq,
            )
        )

    async def run(self) -> None:
        """Runs for the gateway's lifetime."""
        while True:
            await asyncio.sleep(LOOK_S)
            await self._send(self._till.booked_seq)

    async def close(self) -> None:
        """Nothing is under way any more: what the ledger has not is sent as it is."""
        await self._send(self._till.booked_seq)
        unbooked = list(self._pending)
        await asyncio.to_thread(self._tell, unbooked, None)
        await asyncio.gather(asyncio.to_thread(self._otlp.close), self.metrics.close())

    async def _send(self, booked_seq: int) -> None:
        now_ns = time.monotonic_ns()
        booked, late = [], []
        while self._pending:
            first = self._pending[0]
            if first.spool_seq <= booked_seq:
                booked.append(first)
            elif len(self._pending) > PENDING_MAX or _waits_long(first, now_ns):
                late.append(first)
            else:
                break
            self._pending.popleft()
        if booked or late:
            await asyncio.to_thread(self._tell, booked, now_ns)
            await asyncio.to_thread(self._tell, late, None)

    def _tell(self, all_ended: Sequence[Ended], booked_ns: int | None) -> None:
        for ended in all_ended:
            self._otlp.send(trace_of(ended, booked_ns))


def _waits_long(ended: Ended, now_ns: int) -> bool:
    return now_ns - ended.ended_ns > BOOKED_WITHIN_S * 1e9

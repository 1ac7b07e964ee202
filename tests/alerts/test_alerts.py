"""Prometheus over a stack under load: every query finds data, the worst faults are told of."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from served import eventually

from .faults import WORST, faults
from .queries import of_alerts, of_panels, of_recording_rules
from .stack import stacked

pytestmark = pytest.mark.anyio
SPEED = 60.0


@pytest.fixture
def anyio_backend():
    return ("asyncio", {"use_uvloop": True})


async def test_every_query_finds_data_and_the_worst_faults_fire():
    async with stacked(speed=SPEED) as stack:
        load = asyncio.create_task(stack.load())
        try:
            await stack.settle(dear=False)
            queries = of_panels() | of_recording_rules() | of_alerts()
            await eventually(
                lambda: asyncio.to_thread(_silent, stack.prometheus, queries),
                lambda silent: not silent,
                within_s=90,
            )
            firing = stack.prometheus.firing()
            assert "TollgateNodeLies" in firing, "one does, from the first request on"
            assert not firing & WORST
            fired = {alert async for _, alert, _ in faults(stack, within_s=90)}
            assert fired == WORST
        finally:
            load.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await load


def _silent(prometheus, queries: dict[str, str]) -> dict[str, str]:
    """Those that find nothing (yet)."""
    wrong = [rule for rule in prometheus.rules() if rule.get("lastError")]
    assert not wrong, wrong
    return {name: query for name, query in queries.items() if not prometheus.query(query)}

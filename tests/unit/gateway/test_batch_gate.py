"""Lines of batches for a model that has no node."""

from __future__ import annotations

import asyncio
import random

import pytest

from gateway.batches.gate import Gate
from router.policy import Policy
from router.registry import Registry
from router.router import Router

pytestmark = pytest.mark.anyio


def gate_of(*, is_coming: bool) -> Gate:
    router = Router(Registry(), Policy(), random.Random(0))
    return Gate(router, 8, lambda: True, lambda _model: is_coming)


async def test_one_line_passes_to_wake_a_model_at_zero_and_the_next_once_that_has_left():
    gate, stopping = gate_of(is_coming=True), asyncio.Event()
    first = await asyncio.wait_for(gate.enter("m", stopping), 5)
    assert first is not None
    second = asyncio.create_task(gate.enter("m", stopping))
    done, _ = await asyncio.wait([second], timeout=0.2)
    assert not done
    first.leave()
    assert await asyncio.wait_for(second, 5) is not None


async def test_none_passes_where_nothing_will_come():
    gate, stopping = gate_of(is_coming=False), asyncio.Event()
    waiting = asyncio.create_task(gate.enter("m", stopping))
    done, _ = await asyncio.wait([waiting], timeout=0.2)
    assert not done
    stopping.set()
    assert await asyncio.wait_for(waiting, 5) is None

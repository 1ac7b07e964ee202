"""The short version of `make pools`: fewer streams, no real engine."""

from __future__ import annotations

import pytest

from . import parts
from .stand import standing

pytestmark = pytest.mark.anyio


async def test_replicas_land_scale_sleep_wake_roll_and_outlive_their_machine(tmp_path):
    async with standing(tmp_path, streams=20) as stand:
        stand.configure(*parts.models())
        async with stand.gateway() as served:
            await parts.placement(stand, served)
            await parts.autoscaling(stand, served)
            await parts.waking(stand, served)
            await parts.rolling(stand, served)
            await parts.lost_node(stand, served)

"""Two real engines, one killed in the streams that it serves: nobody sees it."""

from __future__ import annotations

import pytest

from .proof import prove

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    return ("asyncio", {"use_uvloop": True})


async def test_streams_of_a_killed_engine_go_on(tmp_path):
    report = await prove(tmp_path, streams=1, seed=1)
    assert report.failures == []
    assert report.broken >= 1
    assert report.gap_s < 20

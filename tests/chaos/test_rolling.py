"""The short run of `make rolling`."""

from __future__ import annotations

import pytest

from .rolling import lines, run

pytestmark = pytest.mark.anyio
STREAMS = 30


async def test_two_gateways_are_restarted_and_no_stream_notices(tmp_path):
    report = await run(tmp_path, STREAMS, restarts=1, tokens_a_second=60)
    assert not report.failures, "\n".join(lines(report))
    assert report.restarts == 2
    assert set(report.ended) == {"answered to the end"}
    assert report.at_once_least >= STREAMS * 3 // 4
    assert report.charges == report.ended["answered to the end"] >= 2 * STREAMS

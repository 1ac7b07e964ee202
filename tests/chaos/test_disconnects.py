"""The short run of `make chaos ARGS='--only disconnects'`."""

from __future__ import annotations

import pytest

from .disconnects import lines, run

STREAMS = 40


@pytest.mark.anyio
async def test_a_cut_stream_is_charged_for_what_was_generated_and_its_node_let_go(tmp_path):
    report = await run(tmp_path, STREAMS, seed=7)
    assert not report.failures, "\n".join(lines(report))
    assert report.streams == STREAMS
    assert len(report.kinds) == 8
    assert report.exact >= STREAMS / 2

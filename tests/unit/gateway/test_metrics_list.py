"""docs/metrics.md and the definitions that it is made of."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from gateway.cli import main
from gateway.telemetry.all_metrics import ALL_METRICS, as_markdown
from gateway.telemetry.definition import Kind

DOC = Path(__file__).parents[3] / "docs/metrics.md"
EVERY = [metric for metrics in ALL_METRICS.values() for metric in metrics]


def test_the_page_is_what_the_command_prints():
    assert DOC.read_text() == as_markdown(), "docs/metrics.md is stale: make it anew with\n" + (
        "    tollgate metrics > docs/metrics.md"
    )
    assert CliRunner().invoke(main, ["metrics"]).output == as_markdown()


def test_the_command_tells_the_same_as_json():
    told = json.loads(CliRunner().invoke(main, ["metrics", "--json"]).output)
    assert [each["name"] for each in told] == [metric.exposed for metric in EVERY]
    assert {each["type"] for each in told} == {"counter", "gauge", "histogram", "summary"}


def test_each_is_there_once():
    names = [metric.exposed for metric in EVERY]
    assert sorted(names) == sorted(set(names))


@pytest.mark.parametrize("metric", EVERY, ids=lambda metric: metric.name)
def test_names_follow_prometheus(metric):
    assert metric.name.startswith(("tollgate_", "process_", "python_"))
    assert not metric.name.endswith(("_total", "_count", "_sum", "_bucket", "_created"))
    assert not {"le", "quantile", "worker", "instance", "job"} & set(metric.labels) or (
        metric.name.startswith("tollgate_scorecard_") and metric.labels == ("model", "quantile")
    )
    for unit in ("_ms", "_milliseconds", "_minutes", "_months", "_percent", "_nano_usd", "_kb"):
        assert not metric.name.endswith(unit), "base units: seconds, ratio, usd, bytes"
    if metric.kind in (Kind.HISTOGRAM, Kind.SUMMARY):
        assert metric.name.endswith("_seconds")
    assert metric.help

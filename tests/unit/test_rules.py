"""The alerts that are shipped: each fires in its promtool test, each has a runbook that exists."""

from __future__ import annotations

import importlib
import re
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest
import yaml

from gateway.cli import main
from gateway.telemetry.all_metrics import ALL_METRICS
from gateway.telemetry.definition import Kind

ROOT = Path(__file__).parents[2]
PROMETHEUS = ROOT / "deploy/prometheus"
COMPOSE = ROOT / "deploy/compose"
RUNBOOKS = sorted((ROOT / "docs/runbooks").glob("*.md"))
SUFFIXES = {Kind.HISTOGRAM: ("_bucket", "_sum", "_count"), Kind.SUMMARY: ("_sum", "_count")}


def alerts() -> dict[str, dict]:
    groups = yaml.safe_load((PROMETHEUS / "rules/alerts.yml").read_text())["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}


def promtool(*arguments: str) -> None:
    found = shutil.which("promtool")
    assert found, "there is no promtool: `apt-get install prometheus`"
    done = subprocess.run([found, *arguments], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_rules_and_the_configuration_are_valid():
    promtool("check", "rules", *map(str, (PROMETHEUS / "rules").glob("*.yml")))
    for file in (PROMETHEUS / "prometheus.yml", COMPOSE / "prometheus.yml"):
        promtool("check", "config", "--syntax-only", str(file))


@pytest.mark.parametrize("file", ["alerts.yml", "slo.yml"])
def test_each_alert_fires_when_it_should_and_not_before(file):
    promtool("test", "rules", str(PROMETHEUS / "tests" / file))


def test_no_alert_is_without_a_test_in_which_it_fires():
    fired = {
        asked["alertname"]
        for file in (PROMETHEUS / "tests").glob("*.yml")
        for test in yaml.safe_load(file.read_text())["tests"]
        for asked in test["alert_rule_test"]
        if asked["exp_alerts"]
    }
    assert set(alerts()) == fired


def test_each_alert_leads_to_its_runbook_and_each_runbook_names_its_alerts():
    told: dict[str, set[str]] = {}
    for name, rule in alerts().items():
        told.setdefault(rule["annotations"]["runbook_url"], set()).add(name)
        assert rule["labels"]["severity"] in ("page", "ticket")
    assert {path.relative_to(ROOT).as_posix() for path in RUNBOOKS} == set(told)
    for path, names in told.items():
        text = (ROOT / path).read_text()
        assert set(re.findall(r"Tollgate[A-Z]\w+", text.partition("\n## ")[0])) == names
        for heading in ("## What it means", "## How to see", "## What to do"):
            assert heading in text, f"{path} does not say: {heading}"


@pytest.mark.parametrize("path", RUNBOOKS, ids=lambda path: path.stem)
def test_a_runbook_names_commands_metrics_and_pages_that_exist(path):
    text = path.read_text()
    for words in re.findall(r"`tollgate ([a-z -]+)", text):
        _find(words.split())
    recorded = (PROMETHEUS / "rules/recording.yml").read_text()
    for metric in re.findall(r"(?<![:\w])tollgate_\w+", text):
        assert metric in exposed(), metric
    for rule in re.findall(r"\w+:tollgate_\w+:\w+", text):
        assert f"record: {rule}\n" in recorded, rule
    for page in re.findall(r"(?<![/\w])([a-z-]+\.md)", text):
        assert (path.parent / page).exists(), page
    for page in re.findall(r"docs/[\w/-]+\.md", text):
        assert (ROOT / page).exists(), page


def _find(words: list[str]) -> None:
    """The command; words after it are arguments."""
    command: click.Command = main
    while isinstance(command, click.Group) and words:
        name = words.pop(0)
        found = command.get_command(click.Context(command), name)
        assert found is not None, f"there is no command {name}"
        command = found


def exposed() -> set[str]:
    names = set()
    for metric in (metric for metrics in ALL_METRICS.values() for metric in metrics):
        names |= {metric.name + suffix for suffix in SUFFIXES.get(metric.kind, ())}
        names.add(metric.exposed)
    return names


def test_the_dashboards_are_what_the_boards_say(tmp_path):
    grafana = ROOT / "deploy/grafana"
    subprocess.run([sys.executable, grafana / "dashboards.py", tmp_path], check=True)
    shipped = {path.name: path.read_text() for path in (grafana / "dashboards").glob("*.json")}
    assert {path.name: path.read_text() for path in tmp_path.glob("*.json")} == shipped, (
        "a dashboard is stale: python deploy/grafana/dashboards.py"
    )
    assert len(shipped) == 6


def test_the_provisioning_names_what_is_there():
    provisioning = ROOT / "deploy/grafana/provisioning"
    (source,) = yaml.safe_load((provisioning / "datasources/prometheus.yml").read_text())[
        "datasources"
    ]
    sys.path.insert(0, str(ROOT / "deploy/grafana"))
    try:
        panels = importlib.import_module("panels")
    finally:
        sys.path.pop(0)
    assert {"type": source["type"], "uid": source["uid"]} == panels.SOURCE
    (provider,) = yaml.safe_load((provisioning / "dashboards/tollgate.yml").read_text())[
        "providers"
    ]
    assert provider["type"] == "file"

"""Every query that is shipped: of panels, of recording rules, and what alerts look at."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml

from .prometheus_process import DEPLOY, PROMETHEUS

DASHBOARDS = sorted((DEPLOY / "grafana/dashboards").glob("*.json"))
_COMPARED = re.compile(r"^(.*?)\s*(?:[<>]=?|==)\s*[\d.* ]+$", re.DOTALL)


def of_panels() -> dict[str, str]:
    """By dashboard, panel and letter; `$model` and the like as "All" makes them."""
    found = {}
    for path in DASHBOARDS:
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel["targets"]:
                name = f"{path.stem}: {panel['title']} {target['refId']}"
                found[name] = re.sub(r"\$(model|node|supplier)", ".*", target["expr"])
    return found


def rules(file: Path) -> list[dict[str, Any]]:
    groups = yaml.safe_load(file.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def of_recording_rules() -> dict[str, str]:
    """What each records, so that its own query ran before."""
    return {rule["record"]: rule["record"] for rule in rules(PROMETHEUS / "rules/recording.yml")}


def of_alerts() -> dict[str, str]:
    """What each alert compares, without the comparison: there is something to compare."""
    found = {}
    for rule in rules(PROMETHEUS / "rules/alerts.yml"):
        parts = re.split(r"\nand |\bor (?=max by)", rule["expr"])
        for number, part in enumerate(parts):
            compared = _COMPARED.match(part.strip())
            assert compared, f"{rule['alert']}: what does it compare? {part}"
            found[f"{rule['alert']} {number}"] = compared[1]
    return found

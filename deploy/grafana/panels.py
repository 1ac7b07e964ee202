"""What a dashboard is made of: a panel is a title, a unit and queries; rows become a grid."""

from __future__ import annotations

from typing import Any

SOURCE = {"type": "prometheus", "uid": "tollgate"}
WIDTH, HEIGHT = 24, 8
OF_MODEL = '{model=~"$model"}'

Json = dict[str, Any]


def panel(title: str, unit: str, *queries: tuple[str, str], kind: str = "timeseries") -> Json:
    """`queries` are pairs of a query and the legend of its series."""
    targets = [
        {
            "refId": chr(ord("A") + index),
            "datasource": SOURCE,
            "expr": query,
            "legendFormat": legend,
        }
        for index, (query, legend) in enumerate(queries)
    ]
    if kind != "timeseries":
        targets = [target | {"instant": True} for target in targets]
    if kind == "table":
        targets = [target | {"format": "table"} for target in targets]
    return {
        "title": title,
        "type": kind,
        "datasource": SOURCE,
        "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []},
        "targets": targets,
    }


def stat(title: str, unit: str, query: str, legend: str = "") -> Json:
    return panel(title, unit, (query, legend), kind="stat")


def table(title: str, unit: str, query: str) -> Json:
    return panel(title, unit, (query, ""), kind="table")


def dashboard(uid: str, title: str, variables: dict[str, str], rows: list[list[Json]]) -> Json:
    """`variables` maps each to the metric whose label it takes its values from."""
    panels, number = [], 0
    for y, row in enumerate(rows):
        width = WIDTH // len(row)
        for x, each in enumerate(row):
            number += 1
            place = {"h": HEIGHT, "w": width, "x": x * width, "y": y * HEIGHT}
            panels.append(each | {"id": number, "gridPos": place})
    return {
        "uid": uid,
        "title": title,
        "tags": ["tollgate"],
        "schemaVersion": 38,
        "editable": False,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "links": [
            {"type": "dashboards", "tags": ["tollgate"], "asDropdown": True, "title": "Tollgate"}
        ],
        "templating": {"list": [_variable(*each) for each in variables.items()]},
        "panels": panels,
    }


def _variable(name: str, metric: str) -> Json:
    return {
        "name": name,
        "type": "query",
        "datasource": SOURCE,
        "query": f"label_values({metric}, {name})",
        "refresh": 2,
        "includeAll": True,
        "multi": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
    }

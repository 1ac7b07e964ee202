"""`tollgate metrics`: every metric there is; docs/metrics.md is what it prints."""

from __future__ import annotations

import click

from gateway.cli.home import echo_json, json_option
from gateway.telemetry.all_metrics import ALL_METRICS, as_markdown, told_over_workers


@click.command(epilog="Example: tollgate metrics > docs/metrics.md")
@json_option
def command(as_json: bool) -> None:
    """Print the list of metrics: type, labels, unit and meaning of each."""
    if not as_json:
        click.echo(as_markdown(), nl=False)
        return
    told = [
        {
            "name": metric.exposed,
            "type": metric.kind,
            "labels": metric.labels,
            "unit": metric.unit_told,
            "over_workers": told_over_workers(metric),
            "help": metric.help,
            "part": part,
        }
        for part, metrics in ALL_METRICS.items()
        for metric in metrics
    ]
    echo_json(told)

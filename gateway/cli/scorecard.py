"""`tollgate scorecard`: how an aggregator sees this provider."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from gateway.cli.admin_ask import ask_admin
from gateway.cli.home import echo_json, echo_table, home_option, json_option


@click.command()
@click.option("--url", help="Origin of the gateway; where the configuration serves if not given.")
@json_option
@home_option
def command(url: str | None, as_json: bool, home: Path) -> None:
    """Uptime, speed and tool calls of each model as OpenRouter computes them, and what threatens.

    Asks a gateway that runs, with the admin key of its home. docs/scorecard.md has the rules.

    Example: tollgate scorecard
    """
    told = ask_admin(home, "/provider/scorecard", url)
    if as_json:
        echo_json(told)
        return
    echo_table("Scorecard, as OpenRouter counts", _COLUMNS, [_row(each) for each in told["models"]])
    for each in told["models"]:
        _warn(each)


_COLUMNS = [
    "model",
    "band",
    "uptime 30m ",
    "uptime 30s ",
    "requests 30m ",
    "to demotion ",
    "ttft p50/p99 s ",
    "tok/s p50/p99 ",
    "tool errors ",
]


def _row(model: dict[str, Any]) -> list[str]:
    uptime, demotion = model["uptime"], model["demotion"]
    return [
        model["model"],
        model["band"],
        _percent(uptime["30m"]["uptime"]),
        _percent(uptime["30s"]["uptime"]),
        str(uptime["30m"]["requests"]),
        "-" if demotion is None else f"{demotion['failures']} failures",
        _spread(model["ttft_seconds"], 3),
        _spread(model["throughput_tokens_per_second"], 1),
        _percent(model["tool_calls"]["error_rate"]),
    ]


def _warn(model: dict[str, Any]) -> None:
    against = model["uptime"]["30m"]["against"]
    if model["outage"]:
        click.echo(f"{model['model']}: an outage in the last 30 s", err=True)
    if against:
        causes = ", ".join(f"{count} {cause}" for cause, count in against.items())
        click.echo(f"{model['model']}: counting against it in 30 minutes: {causes}")


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.2f}%"


def _spread(percentiles: dict[str, float], digits: int) -> str:
    if not percentiles:
        return "-"
    return f"{percentiles['p50']:.{digits}f}/{percentiles['p99']:.{digits}f}"

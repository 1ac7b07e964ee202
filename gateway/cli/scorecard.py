"""`tollgate scorecard`: how an aggregator sees this provider."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import click

from gateway.cli.home import config_file, echo_json, echo_table, home_option, json_option
from gateway.config import load
from gateway.config_error import ConfigError
from gateway.home import Home

TIMEOUT_S = 10


@click.command()
@click.option("--url", help="Origin of the gateway; where the configuration serves if not given.")
@json_option
@home_option
def command(url: str | None, as_json: bool, home: Path) -> None:
    """Uptime, speed and tool calls of each model as OpenRouter computes them, and what threatens.

    Asks a gateway that runs, with the admin key of its home. docs/scorecard.md has the rules.

    Example: tollgate scorecard
    """
    file = config_file(home)
    if file is None:
        raise click.ClickException(f"{home} has no tollgate.toml; name one with --config")
    try:
        config = load(file)
        key = config.admin.key(Home(home))
    except ConfigError as error:
        raise click.ClickException(str(error)) from error
    if key is None:
        raise click.ClickException("there is no admin key: set [admin] key_file or key_env")
    host = "127.0.0.1" if config.server.host in ("0.0.0.0", "::") else config.server.host
    told = _ask(url or f"http://{host}:{config.server.port}", key)
    if as_json:
        echo_json(told)
        return
    echo_table("Scorecard, as OpenRouter counts", _COLUMNS, [_row(each) for each in told["models"]])
    for each in told["models"]:
        _warn(each)


def _ask(origin: str, key: str) -> dict[str, Any]:
    address = f"{origin.rstrip('/')}/provider/scorecard"
    request = urllib.request.Request(address, headers={"authorization": f"Bearer {key}"})
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
            told: dict[str, Any] = json.load(answer)
    except urllib.error.HTTPError as error:
        reason = error.read().decode(errors="replace")
        raise click.ClickException(f"{address} answered {error.code}: {reason}") from error
    except (OSError, ValueError) as error:
        raise click.ClickException(f"{address} cannot be asked: {error}") from error
    return told


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

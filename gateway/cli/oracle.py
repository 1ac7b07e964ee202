"""`tollgate oracle`: what each source of IO's price says now, and what they agree on."""

from __future__ import annotations

import sys
import time
import tomllib
from pathlib import Path

import click
import msgspec

from gateway.cli.home import config_file, echo_json, echo_table, home_option, json_option
from ide.oracle import median_nano_usd, next_rounds, price_nano_usd
from ide.price_sources import OracleConfig, read_quotes
from metering.money import format_usd


@click.command()
@json_option
@home_option
def command(as_json: bool, home: Path) -> None:
    """Read every source of [oracle] once. Exits 1 if they do not make a price.

    --config may also name a file of that section alone: [[sources]] (name, url or file, price_at)
    and the oracle's limits.

    Example: tollgate oracle --json
    """
    config = _config(home)
    now_ns = time.time_ns()
    quotes, failures = read_quotes(config.sources, now_ns)
    price = price_nano_usd(next_rounds((), quotes, now_ns, config), now_ns, config)
    if as_json:
        echo_json(
            {
                "price_nano_usd": price,
                "quotes": {quote.source: quote.price_nano_usd for quote in quotes},
                "failures": {failure.source: failure.problem for failure in failures},
            }
        )
    else:
        rows = [[quote.source, format_usd(quote.price_nano_usd)] for quote in quotes]
        rows += [[failure.source, failure.problem] for failure in failures]
        echo_table("Sources", ["source", "USD for one IO"], rows)
        if price is not None:
            click.echo(f"Price: {format_usd(price)} USD")
        else:
            middle = median_nano_usd([quote.price_nano_usd for quote in quotes]) if quotes else 0
            click.echo(
                f"No price: it takes {config.sources_min} fresh sources at or above"
                f" {format_usd(config.price_floor_nano_usd)} USD; {len(quotes)} answered,"
                f" their median is {format_usd(middle)} USD"
            )
    sys.exit(0 if price is not None else 1)


def _config(home: Path) -> OracleConfig:
    file = config_file(home)
    if file is None:
        raise click.ClickException(f"'{home}' has no configuration: name one with --config")
    try:
        told = tomllib.loads(file.read_text())
        section = told if "sources" in told else told.get("oracle")
        if section is None:
            raise click.ClickException(f"{file} has no [oracle]: docs/settlement.md shows one")
        return msgspec.convert(section, OracleConfig)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise click.ClickException(f"{file}: {error}") from error

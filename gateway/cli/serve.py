"""`tollgate serve`: one gateway over nodes that run already."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from gateway.config import Config, ConfigError, load
from gateway.home import Home
from gateway.logs.lines import write_log
from gateway.workers.listening import AddressError
from gateway.workers.workers import StartError, Workers
from metering.ledger import LedgerError
from metering.spool_file import SpoolError


@click.command(
    epilog="Example: tollgate serve --home /var/lib/tollgate --config /etc/tollgate.toml"
)
@click.option(
    "--home",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(".tollgate"),
    show_default=True,
    help="Folder of ledger, spool and configuration.",
)
@click.option(
    "--config",
    "config_file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Configuration file; tollgate.toml in the home if not given.",
)
@click.option("--port", type=int, help="Overrides [server] port.")
@click.option("--workers", type=click.IntRange(min=1), help="Overrides [server] workers.")
def command(home: Path, config_file: Path | None, port: int | None, workers: int | None) -> None:
    """Serve OpenAI's API over the configured nodes until SIGTERM or Ctrl-C, then drain."""
    place = Home(home)
    try:
        config = load(config_file or place.config_file).at(port=port, workers=workers)
        write_log(config.log)
        if config.server.workers > 1:
            _serve_together(place, config)
        else:
            _serve_alone(place, config)
    except (AddressError, ConfigError, LedgerError, SpoolError, StartError) as error:
        click.echo(f"tollgate serve: {error}", err=True)
        sys.exit(1)


def _serve_alone(home: Home, config: Config) -> None:
    # Imported here because a supervisor needs none of it: it would be half of its memory.
    from gateway.server import GatewayServer
    from gateway.wiring import Gateway

    gateway = Gateway(home, config)
    GatewayServer(gateway, on_serving=lambda port: _announce(home, config, port)).run()


def _serve_together(home: Home, config: Config) -> None:
    Workers(home, config, lambda port: _announce(home, config, port)).run()


def _announce(home: Home, config: Config, port: int) -> None:
    workers = config.server.workers
    by = f" by {workers} workers" if workers > 1 else ""
    click.echo(f"Serving http://{config.server.host}:{port}/v1 from {home.path}{by}")

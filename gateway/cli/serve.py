"""`tollgate serve`: one gateway over nodes that run already."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import click

from gateway.config import ConfigError, load
from gateway.home import Home
from gateway.server import GatewayServer
from gateway.wiring import Gateway
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
def command(home: Path, config_file: Path | None, port: int | None) -> None:
    """Serve OpenAI's API over the configured nodes until SIGTERM or Ctrl-C, then drain."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    place = Home(home)
    try:
        config = load(config_file or place.config_file)
        gateway = Gateway(place, config.at_port(port) if port is not None else config)
    except (ConfigError, LedgerError, SpoolError) as error:
        click.echo(f"tollgate serve: {error}", err=True)
        sys.exit(1)
    server = GatewayServer(gateway)
    address = f"http://{gateway.config.server.host}:{gateway.config.server.port}/v1"
    click.echo(f"Serving {address} from {home}")
    server.run()

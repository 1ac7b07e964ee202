"""How a command asks a gateway that runs, with the admin key of its home."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Literal

import click
import msgspec

from gateway.cli.home import config_file
from gateway.config import load
from gateway.config_error import ConfigError
from gateway.home import Home

TIMEOUT_S = 10

_refusal = msgspec.json.Decoder(dict[Literal["error"], dict[str, str | None]])


def ask_admin(home: Path, path: str, url: str | None = None) -> dict[str, Any]:
    """What `path` answers; of the gateway at `url`, or where the home's configuration serves.
    Raises click.ClickException.
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
    return _ask(url or f"http://{host}:{config.server.port}", path, key)


def _ask(origin: str, path: str, key: str) -> dict[str, Any]:
    address = f"{origin.rstrip('/')}{path}"
    request = urllib.request.Request(address, headers={"authorization": f"Bearer {key}"})
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
            told: dict[str, Any] = json.load(answer)
    except urllib.error.HTTPError as error:
        raise click.ClickException(f"{address}: {error.code}, {_reason(error.read())}") from error
    except (OSError, ValueError) as error:
        raise click.ClickException(f"{address} cannot be asked: {error}") from error
    return told


def _reason(body: bytes) -> str:
    """The message of a gateway's refusal; whatever else answers, as it came."""
    try:
        return _refusal.decode(body)["error"]["message"] or ""
    except (msgspec.DecodeError, UnicodeDecodeError, KeyError):
        return body.decode(errors="replace")

"""What every section of the configuration needs: its error, secrets, and URLs that hold some."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import urlsplit


class ConfigError(ValueError):
    """The configuration cannot be used; the message says where and what to write."""


def read_secret(path: str) -> str:
    """Raises ConfigError if the file cannot be read or is empty."""
    try:
        secret = Path(path).read_text().strip()
    except OSError as error:
        raise ConfigError(f"secret file {path}: {error.strerror}") from None
    if not secret:
        raise ConfigError(f"secret file {path} is empty")
    return secret


def url_of(section: str, url: str | None, env: str | None, file: str | None, example: str) -> str:
    """A section's `url`, `url_env` or `url_file`: the last two for one with a password. Raises
    ConfigError.
    """
    given = [way for way in (url, env, file) if way is not None]
    if len(given) != 1:
        raise ConfigError(f"[{section}] needs one of url, url_env and url_file, and only one")
    if file is not None:
        return read_secret(file)
    if env is not None:
        found = os.environ.get(env, "").strip()
        if not found:
            raise ConfigError(
                f"[{section}] the environment variable {env} is empty; put the URL into it, such "
                f"as {example}"
            )
        return found
    if urlsplit(given[0]).password is not None:
        raise ConfigError(
            f"[{section}] url holds a password; put the URL into a file or an environment variable "
            "and name that with url_file or url_env"
        )
    return given[0]

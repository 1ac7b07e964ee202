"""What every section of the configuration needs: its error, and secrets out of files."""

from __future__ import annotations

from pathlib import Path


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

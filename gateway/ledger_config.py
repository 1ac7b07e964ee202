"""The `[ledger]` section: where the books are."""

from __future__ import annotations

import tomllib
from pathlib import Path

import msgspec

from gateway.config_error import ConfigError, url_of
from gateway.home import Home

SCHEMES = ("postgresql://", "postgres://")


class LedgerConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Without any of these the books are a SQLite file of the home."""

    url: str | None = None
    """Of a PostgreSQL database. Only if it holds no password."""
    url_env: str | None = None
    url_file: str | None = None

    @property
    def in_home(self) -> bool:
        return (self.url, self.url_env, self.url_file) == (None, None, None)

    def where(self, home: Home) -> Path | str:
        """The home's file, or the URL. Raises ConfigError."""
        if self.in_home:
            return home.ledger_file
        example = "postgresql://tollgate:password@db.example:5432/tollgate"
        url = url_of("ledger", self.url, self.url_env, self.url_file, example)
        if not url.startswith(SCHEMES):
            raise ConfigError(f"[ledger] takes the URL of a PostgreSQL database, such as {example}")
        return url


def ledger_config(file: Path) -> LedgerConfig:
    """This section of a configuration whose others nobody asks for. Raises ConfigError."""
    try:
        return msgspec.convert(tomllib.loads(file.read_text()).get("ledger", {}), LedgerConfig)
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{file}: not valid TOML: {error}") from None
    except msgspec.ValidationError as error:
        raise ConfigError(f"{file}: [ledger] {error}") from None

"""The `[settlement]` section: epochs that close by themselves."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated

import msgspec

from gateway.config_error import ConfigError
from metering.money import MoneyError, parse_usd


class SettlementConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    automatic: bool = True
    """One of the gateways on a ledger closes its epochs, each when its time is over."""
    io_price_usd: str | None = None
    """USD for one IO. Without it no IO is released or bought, and the Fee Vault pays in USD."""
    lease_s: Annotated[int, msgspec.Meta(ge=3)] = 15
    """After so long without a word from the gateway that closes them, another does."""

    def io_price_nano_usd(self) -> int | None:
        """Raises ConfigError."""
        if self.io_price_usd is None:
            return None
        try:
            return parse_usd(self.io_price_usd)
        except MoneyError as error:
            raise ConfigError(f"[settlement] io_price_usd: {error}") from None


def settlement_config(file: Path) -> SettlementConfig:
    """This section of a configuration whose others nobody asks for. Raises ConfigError."""
    try:
        section = tomllib.loads(file.read_text()).get("settlement", {})
        return msgspec.convert(section, SettlementConfig)
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{file}: not valid TOML: {error}") from None
    except msgspec.ValidationError as error:
        raise ConfigError(f"{file}: [settlement] {error}") from None

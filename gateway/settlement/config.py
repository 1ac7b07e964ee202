"""The sections `[settlement]` and `[oracle]`: epochs that close by themselves, at what price."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated

import msgspec

from gateway.config_error import ConfigError
from ide.price_sources import OracleConfig
from metering.money import MoneyError, parse_usd


class SettlementConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    automatic: bool = True
    """One of the gateways on a ledger closes its epochs, each when its time is over."""
    io_price_usd: str | None = None
    """USD for one IO, instead of an oracle's."""
    lease_s: Annotated[int, msgspec.Meta(ge=3)] = 15
    """After so long without a word from the gateway that closes them, another does."""


class PriceOfIo(msgspec.Struct, frozen=True, kw_only=True):
    """Fixed, or of an oracle, or none: then no IO moves, and the Fee Vault pays in USD."""

    fixed_nano_usd: int | None
    oracle: OracleConfig | None


class _Sections(msgspec.Struct, frozen=True, kw_only=True):
    settlement: SettlementConfig = SettlementConfig()
    oracle: OracleConfig | None = None


def price_of_io(settlement: SettlementConfig, oracle: OracleConfig | None) -> PriceOfIo:
    """Raises ConfigError for a price that cannot be read, and for two."""
    if settlement.io_price_usd is None:
        return PriceOfIo(fixed_nano_usd=None, oracle=oracle)
    if oracle is not None:
        raise ConfigError(
            "[settlement] io_price_usd fixes the price of IO, and [oracle] says where to read it: "
            "keep one of them"
        )
    try:
        return PriceOfIo(fixed_nano_usd=parse_usd(settlement.io_price_usd), oracle=None)
    except MoneyError as error:
        raise ConfigError(f"[settlement] io_price_usd: {error}") from None


def price_of_io_in(file: Path) -> PriceOfIo:
    """What a configuration says of it, whose other sections nobody asks for. Raises ConfigError."""
    try:
        found = msgspec.convert(tomllib.loads(file.read_text()), _Sections)
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{file}: not valid TOML: {error}") from None
    except msgspec.ValidationError as error:
        raise ConfigError(f"{file}: {error}") from None
    return price_of_io(found.settlement, found.oracle)

"""The `[solana]` section: the chain that suppliers are paid on, from which wallet, and caps."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated

import msgspec

from gateway.config_error import ConfigError, url_of
from metering.money import MoneyError, parse_io

_Positive = Annotated[int, msgspec.Meta(ge=1)]
_NonceAccounts = Annotated[int, msgspec.Meta(ge=1, le=32)]


class SolanaConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Without a URL the chain is the embedded VM, in a file of the home."""

    url: str | None = None
    """Of an RPC node. Only if it holds no key."""
    url_env: str | None = None
    url_file: str | None = None
    mint: str | None = None
    """IO's address."""
    authority_key_file: str | None = None
    """The wallet that holds the IO to pay, pays fees and advances nonces: as of solana-keygen."""
    io_per_epoch_max: str | None = None
    """Most IO that payouts and burn of one epoch may take out of the vault, such as "50000"."""
    lamports_per_epoch_max: _Positive = 10_000_000_000
    """Most for fees and rent of an epoch: suppliers without a token account cost rent."""
    nonce_accounts: _NonceAccounts = 4
    """So many transactions are on their way at once."""
    compute_unit_price_micro_lamports: Annotated[int, msgspec.Meta(ge=0)] = 0
    """Offered beside the fee when the chain is busy."""
    request_timeout_s: _Positive = 10
    """For each answer of the RPC node."""
    poll_interval_s: _Positive = 2
    """Between two looks at what was sent."""
    finalize_timeout_s: _Positive = 180
    """A run gives up waiting after so long; the next one goes on."""

    @property
    def embedded(self) -> bool:
        return (self.url, self.url_env, self.url_file) == (None, None, None)

    def address(self) -> str:
        """The node's URL. Raises ConfigError."""
        example = "https://api.devnet.solana.com"
        return url_of("solana", self.url, self.url_env, self.url_file, example)

    def io_max(self) -> int | None:
        """In base units. Raises ConfigError."""
        if self.io_per_epoch_max is None:
            return None
        try:
            return parse_io(self.io_per_epoch_max)
        except MoneyError as error:
            raise ConfigError(f"[solana] io_per_epoch_max: {error}") from None

    def check(self) -> None:
        """What no single field can tell. Raises ConfigError."""
        self.io_max()
        if self.embedded:
            if self.mint is not None or self.authority_key_file is not None:
                raise ConfigError(
                    "[solana] has a mint or a key but no url: the embedded chain has its own. Name"
                    " the RPC node with url, url_env or url_file"
                )
            return
        needed = ("mint", "authority_key_file", "io_per_epoch_max")
        missing = [name for name in needed if getattr(self, name) is None]
        if missing:
            raise ConfigError(
                f"[solana] names an RPC node but no {', no '.join(missing)}: without it nothing can"
                " be paid there. See docs/settlement-on-chain.md"
            )


def solana_config(file: Path) -> SolanaConfig:
    """This section of a configuration whose others nobody asks for. Raises ConfigError."""
    try:
        raw = tomllib.loads(file.read_text()).get("solana", {})
        config = msgspec.convert(raw, SolanaConfig)
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{file}: not valid TOML: {error}") from None
    except msgspec.ValidationError as error:
        raise ConfigError(f"{file}: [solana] {error}") from None
    config.check()
    return config

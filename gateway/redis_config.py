"""The `[redis]` section: what the gateways of a ledger share."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from gateway.config_error import url_of


class RedisConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What gateways share: limits and balances that hold over all of them."""

    url: str | None = None
    """Only if it holds no password."""
    url_env: str | None = None
    url_file: str | None = None
    timeout_ms: Annotated[int, msgspec.Meta(ge=1)] = 250
    """After so long without an answer Redis is taken for gone."""
    when_away: Literal["lease", "refuse"] = "lease"
    """Serve on what is leased until that is used up, or nothing."""

    def address(self) -> str:
        """Raises ConfigError if there is none, or one with a password in the configuration."""
        return url_of("redis", self.url, self.url_env, self.url_file, "redis://127.0.0.1:6379/0")

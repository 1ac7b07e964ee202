"""The `[admin]` section: where the secret of the admin routes is. Nothing else of it is here."""

from __future__ import annotations

import os

import msgspec

from gateway.config_error import ConfigError, read_secret
from gateway.home import Home

SECRET_CHARS_MIN = 24


class AdminConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Without either, the key is the file `admin_key` of the home, if `tollgate up` made one."""

    key_file: str | None = None
    key_env: str | None = None

    def key(self, home: Home) -> str | None:
        """None: there are no admin routes. Raises ConfigError for a place that holds no key."""
        if self.key_file is not None and self.key_env is not None:
            raise ConfigError("[admin] takes one of key_file and key_env, not both")
        if self.key_file is not None:
            return _strong(read_secret(self.key_file), self.key_file)
        if self.key_env is not None:
            secret = os.environ.get(self.key_env, "").strip()
            return _strong(secret, f"the environment variable {self.key_env}")
        if not home.admin_key_file.exists():
            return None
        return _strong(read_secret(str(home.admin_key_file)), str(home.admin_key_file))


def _strong(secret: str, where: str) -> str:
    if len(secret) < SECRET_CHARS_MIN:
        raise ConfigError(
            f"[admin] {where} holds a key of {len(secret)} characters; whoever guesses it has all "
            f"the money: use at least {SECRET_CHARS_MIN}, such as `openssl rand -hex 32` prints"
        )
    return secret

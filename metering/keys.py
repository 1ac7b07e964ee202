"""API keys: shown once when they are made, kept as a hash ever after."""

from __future__ import annotations

import base64
import hashlib

import msgspec

from metering.limits import UNLIMITED, Limits

SECRET_PREFIX = "sk-tg-"
SECRET_BYTES = 32


class ApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key of an account. `key_id` is safe to show; `digest` is the SHA-256 of the secret.

    A plain hash is enough: the secret is 256 random bits, so there is nothing to guess.
    """

    key_id: str
    account: str
    name: str
    digest: bytes
    created_ns: int
    revoked_ns: int | None = None
    limits: Limits = UNLIMITED


def new_secret(entropy: bytes) -> str:
    """The secret out of `SECRET_BYTES` random bytes. Raises ValueError for any other number."""
    if len(entropy) != SECRET_BYTES:
        raise ValueError(f"a secret is made of {SECRET_BYTES} random bytes, not {len(entropy)}")
    return SECRET_PREFIX + base64.urlsafe_b64encode(entropy).decode().rstrip("=")


def digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


def key_id(secret_digest: bytes) -> str:
    """A name for the key that tells nothing of the secret: 64 bits of its digest."""
    return "key_" + secret_digest[:8].hex()

"""API keys: what they may do; shown once when they are made, kept as a hash ever after."""

from __future__ import annotations

import base64
import hashlib

import msgspec

from metering.cycle import Cycle
from metering.limits import UNLIMITED, Limits

SECRET_PREFIX = "sk-tg-"
SECRET_BYTES = 32


class KeyTermsError(ValueError):
    """Terms that no key can have."""


class KeyTerms(msgspec.Struct, frozen=True, kw_only=True):
    """What a key may do; None is no limit. Raises KeyTermsError for terms that mean nothing."""

    limits: Limits = UNLIMITED
    models: tuple[str, ...] | None = None
    spend_cap_nano_usd: int | None = None
    spend_cycle: Cycle | None = None
    """When the cap begins anew; None: never."""
    expires_ns: int | None = None
    manages_keys: bool = False
    """It may make keys within its own bounds."""
    usage_always: bool = False
    """Every answer tells its usage, and one that ends in an error is free: for aggregators."""
    allows_unknown_parameters: bool = False
    """Parameters that nobody knows are left out of its requests; else such a request is refused."""
    refuses_waking: bool = False
    """A model without a replica answers 429 at once; else its requests wait for one."""

    def __post_init__(self) -> None:
        if self.models is not None and not self.models:
            raise KeyTermsError("no model would be allowed: name one, or give no list")
        if self.spend_cap_nano_usd is not None and self.spend_cap_nano_usd < 0:
            raise KeyTermsError(f"a spend cap of {self.spend_cap_nano_usd} nano-USD is below zero")
        if self.spend_cycle is not None and self.spend_cap_nano_usd is None:
            raise KeyTermsError("a spend cycle without a spend cap: give the cap too")


NO_TERMS = KeyTerms()


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
    models: tuple[str, ...] | None = None
    spend_cap_nano_usd: int | None = None
    spend_cycle: Cycle | None = None
    """None: the cap is for life."""
    expires_ns: int | None = None
    manages_keys: bool = False
    usage_always: bool = False
    allows_unknown_parameters: bool = False
    refuses_waking: bool = False
    parent_key_id: str | None = None
    """The key that made it, whose bounds and cap hold for it too."""
    previous_digest: bytes | None = None
    """Of the secret before the last rotation."""
    previous_until_ns: int | None = None
    suspended: bool = False
    """Its account is: the key may ask what was used, but nothing is served."""

    @property
    def terms(self) -> KeyTerms:
        return KeyTerms(
            limits=self.limits,
            models=self.models,
            spend_cap_nano_usd=self.spend_cap_nano_usd,
            spend_cycle=self.spend_cycle,
            expires_ns=self.expires_ns,
            manages_keys=self.manages_keys,
            usage_always=self.usage_always,
            allows_unknown_parameters=self.allows_unknown_parameters,
            refuses_waking=self.refuses_waking,
        )


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

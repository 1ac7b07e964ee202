"""What is to change of a key, or what a new one is to be: as people write it in JSON. Pure."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from metering.cycle import Cycle
from metering.keys import ApiKey, KeyTerms
from metering.limits import Limits

NAME_CHARS_MAX = 100

_Name = Annotated[str, Meta(max_length=NAME_CHARS_MAX)]
_Model = Annotated[str, Meta(min_length=1, max_length=256)]
_Models = Annotated[tuple[_Model, ...], Meta(min_length=1, max_length=1000)]
_Limit = Annotated[int, Meta(ge=1, le=2**63 - 1)]
_NanoUsd = Annotated[int, Meta(ge=0, le=2**63 - 1)]
_UnixSeconds = Annotated[int, Meta(ge=1, le=9_000_000_000)]
_SECOND_NS = 1_000_000_000


class KeyPatch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is not given stays as it is; null takes a limit away. `expires_at` is Unix time in s."""

    name: _Name | UnsetType = UNSET
    requests_per_minute: _Limit | None | UnsetType = UNSET
    tokens_per_minute: _Limit | None | UnsetType = UNSET
    concurrent_requests: _Limit | None | UnsetType = UNSET
    models: _Models | None | UnsetType = UNSET
    spend_cap_nano_usd: _NanoUsd | None | UnsetType = UNSET
    spend_cycle: Cycle | None | UnsetType = UNSET
    expires_at: _UnixSeconds | None | UnsetType = UNSET
    manages_keys: bool | UnsetType = UNSET

    def named(self, name: str) -> str:
        return name if self.name is UNSET else self.name

    def applied(self, terms: KeyTerms) -> KeyTerms:
        """The terms as they then are. Raises KeyTermsError."""
        expires_ns = terms.expires_ns
        if self.expires_at is not UNSET:
            expires_ns = None if self.expires_at is None else self.expires_at * _SECOND_NS
        return KeyTerms(
            limits=Limits(**self._given(terms.limits, Limits.__struct_fields__)),
            expires_ns=expires_ns,
            **self._given(terms, ("models", "spend_cap_nano_usd", "spend_cycle", "manages_keys")),
        )

    def _given(self, before: KeyTerms | Limits, fields: tuple[str, ...]) -> dict[str, object]:
        given = {field: getattr(self, field) for field in fields}
        return {
            field: getattr(before, field) if value is UNSET else value
            for field, value in given.items()
        }


def expired(key: ApiKey, now_ns: int) -> bool:
    return key.expires_ns is not None and now_ns >= key.expires_ns

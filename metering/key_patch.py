"""What is to change of a key, or what a new one is to be: as people write it in JSON. Pure."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType
from msgspec.structs import replace

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
_SAME = {
    "models",
    "spend_cap_nano_usd",
    "spend_cycle",
    "manages_keys",
    "allows_unknown_parameters",
    "refuses_waking",
    "usage_always",
}
"""Called the same in a key's terms."""


class KeyPatch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is not given stays as it is; null takes a limit away. `expires_at` is Unix time in s."""

    name: _Name | UnsetType = UNSET
    requests_per_minute: _Limit | UnsetType | None = UNSET
    tokens_per_minute: _Limit | UnsetType | None = UNSET
    concurrent_requests: _Limit | UnsetType | None = UNSET
    models: _Models | UnsetType | None = UNSET
    spend_cap_nano_usd: _NanoUsd | UnsetType | None = UNSET
    spend_cycle: Cycle | UnsetType | None = UNSET
    expires_at: _UnixSeconds | UnsetType | None = UNSET
    manages_keys: bool | UnsetType = UNSET
    usage_always: bool | UnsetType = UNSET
    allows_unknown_parameters: bool | UnsetType = UNSET
    refuses_waking: bool | UnsetType = UNSET

    def named(self, name: str) -> str:
        return name if self.name is UNSET else self.name

    def applied(self, terms: KeyTerms) -> KeyTerms:
        """The terms as they then are. Raises KeyTermsError."""
        given = self._given(_SAME)
        if self.expires_at is not UNSET:
            given["expires_ns"] = None if self.expires_at is None else self.expires_at * _SECOND_NS
        limits = self._given(set(Limits.__struct_fields__))
        return replace(terms, limits=replace(terms.limits, **limits), **given)

    def _given(self, fields: set[str]) -> dict[str, Any]:
        given = {field: getattr(self, field) for field in fields}
        return {field: value for field, value in given.items() if value is not UNSET}


def expired(key: ApiKey, now_ns: int) -> bool:
    return key.expires_ns is not None and now_ns >= key.expires_ns

"""Keys that keys make: within the bounds of the key that made them, now and later. Pure.

Bounds are judged twice: when a sub-key is made or changed, so that its maker hears of it; and
whenever keys are loaded, so that a parent whose terms were narrowed since narrows its children. One
level deep: a sub-key makes no keys.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from metering.family_limits import SubKeyLimits
from metering.keys import ApiKey, KeyTerms, KeyTermsError
from metering.limits import Limits


def check_within(terms: KeyTerms, parent: ApiKey) -> None:
    """Raises KeyTermsError for what the parent may not do itself. What is not said in the terms
    is the parent's, and needs no check.
    """
    if terms.manages_keys:
        raise KeyTermsError("a sub-key cannot make keys of its own: manages_keys must be false")
    if terms.models is not None and parent.models is not None:
        beyond = sorted(set(terms.models) - set(parent.models))
        if beyond:
            raise KeyTermsError(f"models: {parent.key_id} may not use {', '.join(beyond)} itself")
    _at_most("spend_cap_nano_usd", terms.spend_cap_nano_usd, parent.spend_cap_nano_usd, parent)
    _at_most("expires_ns", terms.expires_ns, parent.expires_ns, parent)
    for field in Limits.__struct_fields__:
        _at_most(field, getattr(terms.limits, field), getattr(parent.limits, field), parent)


def by_digest(keys: Iterable[ApiKey]) -> dict[bytes, ApiKey]:
    """Each key under the digest of its secret, with what really holds for it, and once more under
    that of the secret before, until that expires.
    """
    known = {key.key_id: key for key in keys}
    return {key.digest: key for each in known.values() for key in _secrets(each, known)}


def _secrets(key: ApiKey, known: dict[str, ApiKey]) -> Iterator[ApiKey]:
    if key.parent_key_id is not None:
        key = _bounded(key, known.get(key.parent_key_id))
    yield key
    if key.previous_digest is not None:
        expires_ns = _lesser(key.expires_ns, key.previous_until_ns)
        yield msgspec.structs.replace(key, digest=key.previous_digest, expires_ns=expires_ns)


def _bounded(key: ApiKey, parent: ApiKey | None) -> ApiKey:
    if parent is None:  # a sub-key without its parent has nothing that it may do
        return msgspec.structs.replace(key, revoked_ns=_lesser(key.revoked_ns, key.created_ns))
    models = key.models
    if parent.models is not None:
        allowed = set(parent.models if models is None else models)
        models = tuple(model for model in parent.models if model in allowed)
    limits = {
        field: _lesser(getattr(key.limits, field), getattr(parent.limits, field))
        for field in Limits.__struct_fields__
    }
    return msgspec.structs.replace(
        key,
        models=models,
        limits=SubKeyLimits(**limits, parent_key_id=parent.key_id, parent=parent.limits),
        expires_ns=_lesser(key.expires_ns, parent.expires_ns),
        revoked_ns=_lesser(key.revoked_ns, parent.revoked_ns),
        manages_keys=False,
    )


def _lesser(one: int | None, other: int | None) -> int | None:
    """The tighter of two bounds, of which None is none."""
    if one is None or other is None:
        return other if one is None else one
    return min(one, other)


def _at_most(field: str, asked: int | None, bound: int | None, parent: ApiKey) -> None:
    if asked is not None and bound is not None and asked > bound:
        raise KeyTermsError(f"{field}: {asked} is beyond {bound}, which {parent.key_id} has itself")

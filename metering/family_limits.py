"""The limits of a sub-key: its own, and those of the key that made it, which all share. Pure.

Without the second, a key that makes keys would have as many times its limits as it makes keys.
"""

from __future__ import annotations

from typing import TypeVar

from metering.limits import REFUSED, KeyPools, Limiter, LimitKind, Limits, Shortage, Standing

Pools = TypeVar("Pools", bound=KeyPools)


class SubKeyLimits(Limits, frozen=True, kw_only=True):
    """A sub-key's, with those of its parent."""

    parent_key_id: str
    parent: Limits


def pools_of(limiter: Limiter[Pools], key_id: str, own: SubKeyLimits) -> KeyPools | None:
    """What a request of this sub-key takes from; None if nothing limits it."""
    pools = each_of(limiter, key_id, own)
    return _Family(pools) if len(pools) > 1 else (pools[0] if pools else None)


def each_of(limiter: Limiter[Pools], key_id: str, own: Limits) -> list[Pools]:
    """What a request of this key takes from: its own pools, and its parent's if it has one."""
    found = [limiter.of(key_id, own)]
    if type(own) is SubKeyLimits:
        found.append(limiter.of(own.parent_key_id, own.parent))
    return [pools for pools in found if pools is not None]


class _Family(KeyPools):
    """What one request takes, of all pools or of none. Each has slots of its own, kept here."""

    __slots__ = ("_members", "_refused", "_slots")

    def __init__(self, members: list[Pools]) -> None:
        self._members = members
        self._slots: list[int] = []
        self._refused: KeyPools = members[0]

    def take(self, tokens: int, now_ns: int) -> int:
        for member in self._members:
            slot = member.take(tokens, now_ns)
            if slot == REFUSED:
                self._refused = member
                self.withdraw(slot, tokens)
                return REFUSED
            self._slots.append(slot)
        return self._slots[0]

    def settle(self, slot: int, tokens: int, tokens_used: int, held_ns: int) -> None:
        for member, taken in zip(self._members, self._slots, strict=True):
            member.settle(taken, tokens, tokens_used, held_ns)

    def withdraw(self, slot: int, tokens: int) -> None:
        for member, taken in zip(self._members, self._slots, strict=False):
            member.withdraw(taken, tokens)
        self._slots.clear()

    def shortage(self, tokens: int, now_ns: int) -> Shortage:
        return self._refused.shortage(tokens, now_ns)

    def standings(self, now_ns: int) -> list[Standing]:
        """The scarcer one of each kind."""
        every = [each for member in self._members for each in member.standings(now_ns)]
        scarcest: dict[LimitKind, Standing] = {}
        for each in every:
            known = scarcest.get(each.kind)
            if known is None or each.remaining < known.remaining:
                scarcest[each.kind] = each
        return list(scarcest.values())

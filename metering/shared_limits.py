"""The limits of a key that several gateways serve: leased in parts, taken without asking. Pure."""

from __future__ import annotations

from metering.limits import (
    REFUSED,
    KeyPools,
    Limiter,
    LimitKind,
    Limits,
    Shortage,
    Standing,
    longest,
)
from metering.limits_window import NO_LIMIT, SLOT_NS, Places, Window
from metering.shares import SHARED_WINDOW_SLOTS, PlaceShare, RateShare, Share

_WINDOW_NS = SHARED_WINDOW_SLOTS * SLOT_NS


class SharedKeyLimits(KeyPools):
    """All shares of a key are leased, told and renewed together, in one slot."""

    __slots__ = ("_awake", "_kinds", "_told", "places", "rates")

    def __init__(
        self, key_id: str, own: Limits, limits: Limits, awake: set[SharedKeyLimits]
    ) -> None:
        rpm, tpm = limits.requests_per_minute, limits.tokens_per_minute
        at_once = limits.concurrent_requests
        requests = None if rpm is None else RateShare(f"{key_id}:requests:{rpm}", rpm)
        tokens = None if tpm is None else RateShare(f"{key_id}:tokens:{tpm}", tpm)
        self.places = None if at_once is None else PlaceShare(f"{key_id}:places:{at_once}", at_once)
        self.rates = [rate for rate in (requests, tokens) if rate is not None]
        self._awake = awake
        self._kinds: list[tuple[LimitKind, Share]] = []
        if requests is not None:
            self._kinds.append((LimitKind.REQUESTS, requests))
        if tokens is not None:
            self._kinds.append((LimitKind.TOKENS, tokens))
        self._told = self._kinds.copy()
        if self.places is not None:
            self._kinds.append((LimitKind.CONCURRENCY, self.places))
        super().__init__(
            own,
            requests=requests or Window(NO_LIMIT),
            tokens=tokens or Window(NO_LIMIT),
            places=self.places or Places(NO_LIMIT),
        )

    @property
    def idle(self) -> bool:
        """There is nothing to tell the pools and nothing to ask them for."""
        return all(rate.idle for rate in self.rates) and (self.places is None or self.places.idle)

    def need(self, tokens: int) -> None:
        """A request of at most this many tokens waits."""
        self._awake.add(self)
        for kind, share in self._kinds:
            share.needs.append(_asked(kind, tokens))

    def settle(self, slot: int, tokens: int, tokens_used: int, held_ns: int) -> None:
        KeyPools.settle(self, slot, tokens, tokens_used, held_ns)
        self._awake.add(self)

    def withdraw(self, slot: int, tokens: int) -> None:
        KeyPools.withdraw(self, slot, tokens)
        self._awake.add(self)

    def hopeless(self, tokens: int, now_ns: int) -> bool:
        """One of the pools has too little, as far as is known: there is no use in asking."""
        return any(share.hopeless(_asked(kind, tokens), now_ns) for kind, share in self._kinds)

    def leased(self, slot: int, ends_ns: int) -> None:
        """What is free is counted in this slot and may be taken until then."""
        self._slot = slot
        self._slot_ends_ns = ends_ns

    def lapse(self, now_ns: int) -> None:
        """Before anything is told: what is leased for an earlier time is not leased any more."""
        if now_ns >= self._slot_ends_ns:
            self.expire()

    def expire(self) -> None:
        """What is free may be taken no longer; each `take` is refused until the next lease."""
        for rate in self.rates:
            rate.expire()
        if self.places is not None:
            self.places.expire()
        self._slot = REFUSED
        self._slot_ends_ns = 0

    def shortage(self, tokens: int, now_ns: int) -> Shortage:
        return longest(
            *(_shortage(kind, share, _asked(kind, tokens), now_ns) for kind, share in self._kinds)
        )

    def standings(self, now_ns: int) -> list[Standing]:
        """As the pool said last, and what of that was taken here since: what others lease counts
        as used. Of a pool that was not heard of yet nothing is known.
        """
        return [_standing(kind, share) for kind, share in self._told if share.heard]

    def _begin_slot(self, now_ns: int) -> None:
        self.expire()


def shared_limiter(default: Limits, awake: set[SharedKeyLimits]) -> Limiter[SharedKeyLimits]:
    """Keys with something to tell their pools put themselves into `awake`."""
    return Limiter(default, lambda key_id, own, limits: SharedKeyLimits(key_id, own, limits, awake))


def _shortage(kind: LimitKind, share: Share, asked: int, now_ns: int) -> Shortage:
    """As far as the pool is known; what others lease counts as used."""
    free = share.free
    if free < asked:
        free = min(free + share.pool_free, asked - 1)
    wait_ns = share.wait_ns(asked, now_ns)
    return Shortage(
        kind=kind,
        limit=share.limit,
        free=free,
        asked=asked,
        wait_ns=wait_ns,
        reset_ns=_WINDOW_NS,
    )


def _standing(kind: LimitKind, share: Share) -> Standing:
    remaining = min(share.limit, max(0, share.free + share.pool_free))
    return Standing(kind, share.limit, remaining, 0 if remaining == share.limit else _WINDOW_NS)


def _asked(kind: LimitKind, tokens: int) -> int:
    return tokens if kind is LimitKind.TOKENS else 1

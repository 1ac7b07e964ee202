"""What a key may use: requests and tokens a minute, requests at once. Pure.

A request takes the most that it can use before it is dispatched, of all its key's limits or of
none; when it ends, what it did not use is given back. So no limit is passed, whatever runs at once,
and a refused request has used nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Generic, Protocol, TypeVar

import msgspec

from metering.limits_window import NO_LIMIT, SLOT_NS, Places, Window

REFUSED = -1
"""No slot."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """None is no limit. Raises ValueError for one below 1, which would refuse everything."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrent_requests: int | None = None

    def __post_init__(self) -> None:
        for name in Limits.__struct_fields__:
            limit = getattr(self, name)
            if limit is not None and limit < 1:
                raise ValueError(f"{name} is {limit}: a limit is at least 1")

    def or_else(self, default: Limits) -> Limits:
        """These, and the default's where there is none."""
        return Limits(
            requests_per_minute=self.requests_per_minute or default.requests_per_minute,
            tokens_per_minute=self.tokens_per_minute or default.tokens_per_minute,
            concurrent_requests=self.concurrent_requests or default.concurrent_requests,
        )


UNLIMITED = Limits()


class LimitKind(StrEnum):
    REQUESTS = "requests"
    TOKENS = "tokens"
    CONCURRENCY = "concurrency"
    CREDIT = "credit"
    """Not of the key but of its account, in nano-USD."""
    CAP = "cap"
    """What a key may spend in a cycle, in nano-USD."""
    FREE_TOKENS = "free_tokens"
    """Of the account for a model on a UTC day."""
    QUOTA = "quota"
    """Tokens of the account for a category of models on a UTC day."""


class Shortage(msgspec.Struct, frozen=True, kw_only=True):
    """Which limit refused a request, and for how long it would."""

    kind: LimitKind
    limit: int
    free: int
    asked: int
    wait_ns: int | None
    """Until there is enough if nothing else runs; None: never, it asks for more than the limit."""
    reset_ns: int = 0
    """Until all of the limit is free if nothing else runs."""
    owner: str = ""
    """The key whose cap it is: the request's own, or one above it."""


class Standing(msgspec.Struct, frozen=True, gc=False):
    """Where a key stands with one of its limits a minute; what running requests set aside is used
    until they end.
    """

    kind: LimitKind
    limit: int
    remaining: int
    reset_ns: int
    """Until all of it is free if nothing else runs, or a little less."""


class _Window(Protocol):
    free: int

    def give_back(self, amount: int, slot: int) -> None: ...


class _Places(Protocol):
    free: int

    def give_back(self, held_ns: int) -> None: ...


class KeyPools:
    """What a key has left of its limits, wherever it comes from. Times are monotonic."""

    __slots__ = ("_places", "_requests", "_slot", "_slot_ends_ns", "_tokens", "own")

    def __init__(self, own: Limits, *, requests: _Window, tokens: _Window, places: _Places) -> None:
        self.own = own
        """As the key has them, without the defaults."""
        self._requests = requests
        self._tokens = tokens
        self._places = places
        self._slot = REFUSED
        self._slot_ends_ns = 0

    def take(self, tokens: int, now_ns: int) -> int:
        """Set aside a place, a request and this many tokens. Returns the slot that they are
        counted in, for the end; or REFUSED, and nothing is set aside: `shortage` says why.
        """
        if now_ns >= self._slot_ends_ns:
            self._begin_slot(now_ns)
        places, requests, window = self._places, self._requests, self._tokens
        if places.free < 1 or requests.free < 1 or window.free < tokens:
            return REFUSED
        places.free -= 1
        requests.free -= 1
        window.free -= tokens
        return self._slot

    def settle(self, slot: int, tokens: int, tokens_used: int, held_ns: int) -> None:
        """A request ended after so long: of the tokens set aside for it, these were used."""
        self._places.give_back(held_ns)
        if slot == self._slot:
            self._tokens.free += tokens - tokens_used
        else:
            self._tokens.give_back(tokens - tokens_used, slot)

    def withdraw(self, slot: int, tokens: int) -> None:
        """A request was not served after all: it used nothing."""
        self._places.free += 1
        if slot == self._slot:
            self._requests.free += 1
            self._tokens.free += tokens
        else:
            self._requests.give_back(1, slot)
            self._tokens.give_back(tokens, slot)

    def shortage(self, tokens: int, now_ns: int) -> Shortage:
        """Why `take` refused, just now: what would be missing for the longest."""
        raise NotImplementedError

    def standings(self, now_ns: int) -> list[Standing]:
        """Of its limits a minute, as far as they are known: requests, tokens."""
        raise NotImplementedError

    def _begin_slot(self, now_ns: int) -> None:
        """The slot at hand is over."""
        raise NotImplementedError


class KeyLimits(KeyPools):
    """The limits of a key that only this process serves."""

    __slots__ = ("_own_places", "_own_requests", "_own_tokens", "_told")

    def __init__(self, own: Limits, limits: Limits) -> None:
        self._own_requests = Window(limits.requests_per_minute or NO_LIMIT)
        self._own_tokens = Window(limits.tokens_per_minute or NO_LIMIT)
        self._own_places = Places(limits.concurrent_requests or NO_LIMIT)
        windows = (LimitKind.REQUESTS, self._own_requests), (LimitKind.TOKENS, self._own_tokens)
        self._told = [(kind, window) for kind, window in windows if window.limit != NO_LIMIT]
        super().__init__(
            own, requests=self._own_requests, tokens=self._own_tokens, places=self._own_places
        )

    def shortage(self, tokens: int, now_ns: int) -> Shortage:
        return longest(
            self._window_shortage(LimitKind.TOKENS, self._own_tokens, tokens, now_ns),
            self._window_shortage(LimitKind.REQUESTS, self._own_requests, 1, now_ns),
            self._place_shortage(),
        )

    def standings(self, now_ns: int) -> list[Standing]:
        if now_ns >= self._slot_ends_ns:
            self._begin_slot(now_ns)
        slot, standings = self._slot, []
        for kind, window in self._told:
            free = window.free if window.free > 0 else 0
            standings.append(Standing(kind, window.limit, free, window.reset_ns(slot, now_ns)))
        return standings

    def _begin_slot(self, now_ns: int) -> None:
        slot = now_ns // SLOT_NS
        self._own_requests.roll(self._slot, slot)
        self._own_tokens.roll(self._slot, slot)
        self._slot = slot
        self._slot_ends_ns = (slot + 1) * SLOT_NS

    def _window_shortage(
        self, kind: LimitKind, window: Window, asked: int, now_ns: int
    ) -> Shortage:
        return Shortage(
            kind=kind,
            limit=window.limit,
            free=window.free,
            asked=asked,
            wait_ns=window.wait_ns(asked, self._slot, now_ns),
            reset_ns=window.reset_ns(self._slot, now_ns),
        )

    def _place_shortage(self) -> Shortage:
        places = self._own_places
        return Shortage(
            kind=LimitKind.CONCURRENCY,
            limit=places.limit,
            free=places.free,
            asked=1,
            wait_ns=places.wait_ns(),
        )


def longest(*shortages: Shortage) -> Shortage:
    """The one that lasts longest of those that are short of something."""
    return max(
        (shortage for shortage in shortages if shortage.free < shortage.asked),
        key=lambda shortage: (shortage.wait_ns is None, shortage.wait_ns or 0),
    )


Pools_co = TypeVar("Pools_co", bound=KeyPools, covariant=True)


class Limiter(Generic[Pools_co]):
    """The limits of every key that was used. `new_pools` makes those of one key, from its id, its
    own limits and those with the defaults. Used by one thread.
    """

    def __init__(
        self, default: Limits, new_pools: Callable[[str, Limits, Limits], Pools_co]
    ) -> None:
        self._default = UNLIMITED if default == UNLIMITED else default
        self._new_pools = new_pools
        self.keys: dict[str, Pools_co] = {}

    def of(self, key_id: str, own: Limits) -> Pools_co | None:
        """What is left of this key's limits; None if it has none. A key whose limits were changed
        starts afresh.
        """
        found = self.keys.get(key_id)
        if found is not None and (found.own is own or found.own == own):
            return found
        if own == UNLIMITED and self._default is UNLIMITED:
            return None
        limits = own.or_else(self._default)
        if limits == UNLIMITED:
            return None
        found = self.keys[key_id] = self._new_pools(key_id, own, limits)
        return found


def local_limiter(default: Limits = UNLIMITED) -> Limiter[KeyLimits]:
    """For a gateway that shares no limits."""
    return Limiter(default, lambda _, own, limits: KeyLimits(own, limits))

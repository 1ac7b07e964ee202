"""This process' part of what several gateways share: a lease on a pool, spent without asking. Pure.

    pool      in Redis                                 here
    window    what was taken, by member and slot       RateShare    free now, taken by slot
    places    what is taken, by member                 PlaceShare   free now, in use
    credit    leases, by writer (shared_budget.py)     CreditShare  free now, spent but not booked

What a share says of itself is absolute ("of this slot I have taken so much"), never a change: an
answer that is lost, a question asked twice and a Redis that forgot everything are made good by the
next statement. A lease on a window ends with the slot after the one that it is counted in, so the
pool counts a slot for one second longer than a window of one process would.
"""

from __future__ import annotations

import msgspec

from metering.limits_window import HELD_NS_AT_FIRST, WINDOW_SLOTS

SHARED_WINDOW_SLOTS = WINDOW_SLOTS + 1
NOWHERE = -1
"""No slot: nothing is leased."""
HOPELESS_NS = 100_000_000
"""For so long a pool that had nothing left, here or elsewhere, is not asked again."""


class Demand(msgspec.Struct, frozen=True, array_like=True):
    """What a share asks of its pool: enough for the smallest that waits, or nothing; at best for
    all that wait; and, of what would be left, an extra to have at hand.
    """

    least: int
    total: int
    extra: int


class Grant(msgspec.Struct, frozen=True, array_like=True):
    """What its pool answers."""

    given: int
    wanted: bool
    """Another member went short: nothing is to be kept beyond what is used."""
    hoarded: bool
    """Others have some that they do not use: it is worth asking again."""
    pool_free: int
    wait_ms: int = 0
    """Until a window has enough for the smallest demand."""
    stale: bool = False
    """Nothing of a balance is given before the ledger was asked for it again."""


class Share:
    """`free` is what may be taken here and now, by subtraction."""

    free: int
    limit: int

    def __init__(self) -> None:
        self.needs: list[int] = []
        """What requests wait for."""
        self._bound = 0
        """So much of what is free has to be kept."""
        self.pool_free = 0
        self.heard = False
        """The pool has answered."""
        self._free_before = 0
        self._wanted = False
        self._hopeless_until_ns = 0
        self._hopeless_least = 0
        self._enough_at_ns = 0

    def ask(self) -> tuple[int, Demand]:
        """How much of what is free to keep, and what to ask for: what three such moments as the
        last one would take. Of what is above that, half goes back; all of it if another member
        went short. What is bound stays.
        """
        target = 3 * (max(0, self._free_before - self.free) + sum(self.needs))
        keep = self.free
        if self._wanted and not self.needs:
            keep = 0
        elif keep > target:
            keep -= (keep - target + 1) >> 1
        keep = max(keep, min(self.free, self._bound))
        least = max(0, min(self.needs, default=0) - keep)
        total = max(0, sum(self.needs) - keep)
        self.needs = []
        self.free = self._free_before = keep
        return keep, Demand(least, total, 0 if self._wanted else max(0, target - keep - total))

    def granted(self, demand: Demand, grant: Grant, now_ns: int) -> None:
        """Take what the pool gave, and note what it said."""
        self.free += grant.given
        self._free_before += grant.given
        self.pool_free = grant.pool_free
        self.heard = True
        self._enough_at_ns = now_ns + grant.wait_ms * 1_000_000
        denied = demand.least > 0 and grant.given == 0
        self._wanted = grant.wanted or denied
        if denied and not grant.hoarded:
            self._hopeless_until_ns = now_ns + HOPELESS_NS
            self._hopeless_least = demand.least

    def hopeless(self, amount: int, now_ns: int) -> bool:
        """Asking for this much is no use: the pool had less, a moment ago."""
        if amount > self.limit:
            return True
        missing = amount - self.free
        return now_ns < self._hopeless_until_ns and missing >= self._hopeless_least

    def not_hopeless(self) -> None:
        """There may be more than there was."""
        self._hopeless_until_ns = 0

    def wait_ns(self, amount: int, now_ns: int) -> int | None:
        """Until the pool has this much, as it answered last; None if its limit is below it."""
        if amount > self.limit:
            return None
        return 0 if amount <= self.free else max(1, self._enough_at_ns - now_ns)


class WindowStatement(msgspec.Struct, frozen=True, array_like=True):
    """`used` of what was charged in slot `label`, `keep` of it to be charged in the slot at hand
    instead; and all that was used in earlier slots of which that changed.
    """

    pool: str
    limit: int
    label: int
    used: int
    keep: int
    earlier: list[tuple[int, int]]
    demand: Demand


class RateShare(Share):
    def __init__(self, pool: str, limit: int) -> None:
        super().__init__()
        self.pool = pool
        self.limit = limit
        self.free = 0
        self._label = NOWHERE
        self._charged = 0
        """In slot `_label`; what is free of it is not used yet."""
        self._used: dict[int, int] = {}
        """In earlier slots, oldest first."""
        self._changed: set[int] = set()

    @property
    def idle(self) -> bool:
        return not (self.free or self.needs or self._changed)

    def give_back(self, amount: int, slot: int) -> None:
        """Of what was taken in a slot that is not the leased one: for the pool, not for us."""
        if slot in self._used:
            self._used[slot] -= amount
            self._changed.add(slot)

    def expire(self) -> None:
        """The lease is over: what is free of it is the pool's again."""
        if self._label != NOWHERE:
            self._used[self._label] = self._charged - self.free
            self._changed.add(self._label)
        self._label = NOWHERE
        self._charged = self.free = 0

    def state(self, everything: bool) -> WindowStatement:
        """What to tell the pool: `everything` if it may know nothing."""
        free = self.free
        keep, demand = self.ask()
        self._charged -= free - keep
        slots = self._used if everything else self._changed
        earlier = [(slot, self._used[slot]) for slot in slots]
        self._changed = set()
        return WindowStatement(
            pool=self.pool,
            limit=self.limit,
            label=self._label,
            used=self._charged - keep,
            keep=keep,
            earlier=earlier,
            demand=demand,
        )

    def apply(self, said: WindowStatement, grant: Grant, slot: int, now_ns: int) -> None:
        """The pool's answer: what is kept and what is given is counted in this slot from now on."""
        if self._label == NOWHERE:
            self._charged = self._used.pop(slot, 0)
        elif self._label != slot:
            self._used[self._label] = said.used
            self._charged = said.keep
        self._label = slot
        self._charged += grant.given
        for old in [old for old in self._used if old <= slot - SHARED_WINDOW_SLOTS]:
            del self._used[old]
            self._changed.discard(old)
        self.granted(said.demand, grant, now_ns)


class PlaceStatement(msgspec.Struct, frozen=True, array_like=True):
    """So many places in use, so many kept."""

    pool: str
    limit: int
    used: int
    keep: int
    demand: Demand


class PlaceShare(Share):
    def __init__(self, pool: str, limit: int) -> None:
        super().__init__()
        self.pool = pool
        self.limit = limit
        self.free = 0
        self._leased = 0
        self._mean_ns = HELD_NS_AT_FIRST

    @property
    def idle(self) -> bool:
        return not (self.free or self.needs)

    def give_back(self, held_ns: int) -> None:
        self.free += 1
        self._mean_ns += (held_ns - self._mean_ns) >> 3

    def expire(self) -> None:
        """The lease is over. Requests that run keep their places."""
        self._leased -= self.free
        self.free = 0

    def wait_ns(self, amount: int, now_ns: int) -> int:
        return max(1, self._mean_ns // self.limit)

    def state(self) -> PlaceStatement:
        free = self.free
        keep, demand = self.ask()
        self._leased -= free - keep
        return PlaceStatement(
            pool=self.pool,
            limit=self.limit,
            used=self._leased - keep,
            keep=keep,
            demand=demand,
        )

    def apply(self, said: PlaceStatement, grant: Grant, now_ns: int) -> None:
        self._leased += grant.given
        self.granted(said.demand, grant, now_ns)

"""How much of a limit is left: over the last minute (`Window`), or at this moment (`Places`). Pure.

A window counts what is taken in slots of one second, and adds up those of the last minute and the
second at hand. So any 60 seconds, wherever they begin, hold at most the limit: there is no burst on
top of it, as a token bucket would allow. The price is that a slot counts for up to a second too
long. What is given back is taken off the slot in which it was taken; once that has left the window
it counts nowhere, and there is nothing to give back. Only integers are added: nothing drifts.
"""

from __future__ import annotations

SLOT_NS = 1_000_000_000
WINDOW_SLOTS = 61
"""Sixty seconds that begin inside a slot end inside the sixty-first."""

HELD_NS_AT_FIRST = 1_000_000_000
"""What a place is taken to be held for until some were given back: whoever were told to come again
in no time would have used up its tries before one was.
"""

NO_LIMIT = 1 << 60
"""More than anybody can take: what has no limit needs no branch on the way of every request."""


class Window:
    """`free` is what may still be taken, by subtraction, in the slot that `roll` was told last."""

    __slots__ = ("_free_at_first", "_past", "free", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.free = limit
        self._free_at_first = limit
        """What was free when the slot at hand began."""
        self._past: dict[int, int] = {}
        """What was taken in earlier slots, oldest first."""

    def roll(self, ended: int, slot: int) -> None:
        """The slot `ended` is over, `slot` is at hand: let go of what left the window."""
        past = self._past
        if self.free != self._free_at_first:
            past[ended] = self._free_at_first - self.free
        while past:
            oldest = next(iter(past))
            if oldest > slot - WINDOW_SLOTS:
                break
            self.free += past.pop(oldest)
        self._free_at_first = self.free

    def give_back(self, amount: int, slot: int) -> None:
        """Of what was taken in an earlier slot. Less than nothing if more was used than taken."""
        if slot in self._past:
            self._past[slot] -= amount
            self.free += amount
            self._free_at_first += amount

    def reset_ns(self, slot: int, now_ns: int) -> int:
        """Until all of the limit is free if nothing else is taken; `slot` is the one at hand."""
        if self.free != self._free_at_first:
            left_ns = (slot + WINDOW_SLOTS) * SLOT_NS - now_ns
            return left_ns if left_ns > 0 else 0
        for earlier, taken in reversed(self._past.items()):
            if taken:
                return max(0, (earlier + WINDOW_SLOTS) * SLOT_NS - now_ns)
        return 0

    def wait_ns(self, amount: int, slot: int, now_ns: int) -> int | None:
        """Until this much is free if nothing else is taken; None if the limit is below it.

        `slot` is the one at hand.
        """
        if amount > self.limit:
            return None
        missing = amount - self.free
        if missing <= 0:
            return 0
        for earlier, taken in self._past.items():
            missing -= taken
            if missing <= 0:
                return max(0, (earlier + WINDOW_SLOTS) * SLOT_NS - now_ns)
        return max(0, (slot + WINDOW_SLOTS) * SLOT_NS - now_ns)


class Places:
    """`free` is how many may still be taken, by subtraction."""

    __slots__ = ("_mean_ns", "free", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.free = limit
        self._mean_ns = HELD_NS_AT_FIRST
        """How long a place was held, lately."""

    def give_back(self, held_ns: int) -> None:
        self.free += 1
        self._mean_ns += (held_ns - self._mean_ns) >> 3

    def wait_ns(self) -> int:
        """Until a place is free, by how long they were held lately."""
        return 0 if self.free > 0 else self._mean_ns // self.limit

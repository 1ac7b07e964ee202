"""The purses in use, by name, and when each is over. Pure."""

from __future__ import annotations

import heapq
from collections.abc import Callable

from metering.cycle import Cycle
from metering.purse import FOREVER_NS, Purse, PurseKind, Quota, cap_purse, free_purse, quota_purse

KEPT_NS = 3_600_000_000_000
"""So long a purse is known after its end: for charges that end late, and clocks that differ."""


class Purses:
    """Changed by one thread; `get` may be called by any. Times are wall clock.

    `on_changed` hears the name of a purse whose limit is another one; `forget` is asked to let go
    of one that is over, and answers whether it could.
    """

    def __init__(self, on_changed: Callable[[str], object], forget: Callable[[str], bool]) -> None:
        self._on_changed = on_changed
        self._forget = forget
        self._by_name: dict[str, Purse] = {}
        self._caps: dict[str, tuple[Cycle | None, Purse]] = {}
        """The latest one of each key, and its cycle."""
        self._free: dict[tuple[str, str], Purse] = {}
        """The latest one of each account and model."""
        self._quotas: dict[tuple[str, str], Purse] = {}
        """The latest one of each account and quota."""
        self._ends: list[tuple[int, str]] = []
        """A heap of those that end: when, and which."""

    def get(self, name: str) -> Purse | None:
        return self._by_name.get(name)

    def until_s(self, name: str) -> int:
        """When it ends, in Unix seconds; 0 for never, and for what is no purse."""
        found = self._by_name.get(name)
        ends = found is not None and found.until_ns != FOREVER_NS
        return found.until_ns // 1_000_000_000 if found is not None and ends else 0

    def cap(self, key_id: str, cap_nano_usd: int, cycle: Cycle | None, now_ns: int) -> Purse:
        """The purse of a key's cap at that time."""
        latest = self._caps.get(key_id)
        if latest is not None:
            known_cycle, purse = latest
            if purse.limit == cap_nano_usd and known_cycle is cycle and purse.at(now_ns):
                return purse
        purse = self._known(cap_purse(key_id, cap_nano_usd, cycle, now_ns), now_ns)
        self._caps[key_id] = cycle, purse
        return purse

    def free(self, account: str, model: str, tokens: int, now_ns: int) -> Purse:
        """The purse of an account's free tokens for a model at that time."""
        purse = self._free.get((account, model))
        if purse is not None and purse.limit == tokens and purse.at(now_ns):
            return purse
        purse = self._known(free_purse(account, model, tokens, now_ns), now_ns)
        self._free[account, model] = purse
        return purse

    def quota(self, account: str, quota: Quota, now_ns: int) -> Purse:
        """The purse of an account's quota at that time."""
        purse = self._quotas.get((account, quota.name))
        if purse is not None and purse.limit == quota.tokens_per_day and purse.at(now_ns):
            return purse
        purse = self._known(quota_purse(account, quota, now_ns), now_ns)
        self._quotas[account, quota.name] = purse
        return purse

    def _known(self, purse: Purse, now_ns: int) -> Purse:
        before = self._by_name.get(purse.name)
        self._by_name[purse.name] = purse
        if before is None:
            if purse.until_ns != FOREVER_NS:
                heapq.heappush(self._ends, (purse.until_ns, purse.name))
            self._let_go(now_ns)
        elif before != purse:
            self._on_changed(purse.name)
        return purse

    def _let_go(self, now_ns: int) -> None:
        """Of what is over; two at a time, so that no request waits for thousands at midnight."""
        for _ in range(2):
            if not self._ends or self._ends[0][0] > now_ns - KEPT_NS:
                return
            _, name = heapq.heappop(self._ends)
            if not self._forget(name):
                heapq.heappush(self._ends, (now_ns, name))
                continue
            self._drop(self._by_name.pop(name))

    def _drop(self, purse: Purse) -> None:
        """It is nobody's latest any more."""
        if purse.kind is PurseKind.CAP:
            if purse.owner in self._caps and self._caps[purse.owner][1] is purse:
                del self._caps[purse.owner]
            return
        latest = self._free if purse.kind is PurseKind.FREE else self._quotas
        if latest.get((purse.owner, purse.of)) is purse:
            del latest[purse.owner, purse.of]

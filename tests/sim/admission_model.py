"""What a gateway must answer to a request: from what it was told and did in this life."""

from __future__ import annotations

from typing import NamedTuple

from metering.charge import CloseCharge, OpenCharge, Row
from metering.limits import Limits

from .model import cost_of

SECOND_NS = 1_000_000_000
WINDOW_SLOTS = 61


class Taken(NamedTuple):
    slot: int
    requests: int
    tokens: int


class KeyModel:
    """What a key used: a list of what was taken when, and a number of places."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.places = 0
        self.taken: dict[str, Taken] = {}

    def free(self, now_ns: int) -> dict[str, int]:
        """Of every limit that the key has."""
        since = now_ns // SECOND_NS - WINDOW_SLOTS
        within = [taken for taken in self.taken.values() if taken.slot > since]
        used = {
            "requests": (self.limits.requests_per_minute, sum(each.requests for each in within)),
            "tokens": (self.limits.tokens_per_minute, sum(each.tokens for each in within)),
            "concurrency": (self.limits.concurrent_requests, self.places),
        }
        return {name: limit - n for name, (limit, n) in used.items() if limit is not None}

    def take(self, name: str, tokens: int, now_ns: int) -> None:
        self.places += 1
        self.taken[name] = Taken(now_ns // SECOND_NS, 1, tokens)

    def end(self, name: str, tokens: int | None) -> None:
        """It used so many; None: it was not served."""
        self.places -= 1
        if tokens is None:
            del self.taken[name]
        else:
            self.taken[name] = self.taken[name]._replace(tokens=tokens)


class CreditModel:
    """What accounts may still spend: the balance told last, and what was done since."""

    def __init__(self, recovered_seq: int) -> None:
        self.recovered_seq = recovered_seq
        self.told: dict[str, tuple[int, int]] = {}
        """Of an account: its balance, and the last row in it."""
        self._done: list[tuple[int, str, int]] = []
        self._holds: dict[str, OpenCharge] = {}

    def tell(self, account: str, available: int, upto_seq: int) -> None:
        assert upto_seq >= self.recovered_seq, "a balance lacks what was charged before the start"
        self.told[account] = (available, upto_seq)

    def available(self, account: str) -> int | None:
        """None while nobody told."""
        if account not in self.told:
            return None
        balance, upto_seq = self.told[account]
        return balance + sum(
            change for seq, owner, change in self._done if owner == account and seq > upto_seq
        )

    def append(self, seq: int, row: Row) -> None:
        if isinstance(row, OpenCharge):
            self._holds[row.charge_id] = row
            self._done.append((seq, row.account, -row.hold_nano_usd))
        elif isinstance(row, CloseCharge):
            opened = self._holds.pop(row.charge_id)
            back = opened.hold_nano_usd - min(cost_of(opened, row), opened.hold_nano_usd)
            self._done.append((seq, opened.account, back))

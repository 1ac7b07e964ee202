"""What happened since the start, in whole numbers that add up: over time and over processes. Pure.

Label sets are bounded: models come from configuration, endpoints, outcomes, statuses and codes from
enumerations; nothing a client sends becomes a label. Nodes enrol, so of them there may be many:
what is beyond `NODES_MAX` is counted under one name.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import add
from typing import TypeVar

import msgspec

from gateway.telemetry.node_metrics import NODES_MAX, OTHER
from metering.charge import ChargeOutcome


def _bounds_ns(*bounds_ms: int) -> tuple[int, ...]:
    return tuple(bound * 1_000_000 for bound in bounds_ms)


TTFT_BOUNDS_NS = _bounds_ns(
    5, 10, 20, 40, 80, 150, 300, 600, 1200, 2500, 5000, 10_000, 20_000, 40_000, 80_000
)
ITL_BOUNDS_NS = _bounds_ns(1, 2, 4, 8, 15, 30, 60, 120, 250, 500, 1000, 2000)
DURATION_BOUNDS_NS = _bounds_ns(
    10, 30, 100, 300, 1000, 3000, 10_000, 30_000, 100_000, 300_000, 1_000_000
)

_COMPLETED, _EMPTY = ChargeOutcome.COMPLETED, ChargeOutcome.EMPTY

Key = tuple[str, str, str, str]
ClassKey = tuple[str, str]


def _buckets(bounds_ns: Sequence[int]) -> list[int]:
    """Observations by the first bound that is not below them; the last are above all."""
    return [0] * (len(bounds_ns) + 1)


class Ended(msgspec.Struct, kw_only=True, array_like=True):
    """All requests of one endpoint, model and class of key that ended in one way.

    One record for every series that a request moves: finding it is what costs.
    """

    since_ns: int
    """Wall clock of the first."""
    requests: int = 0
    failovers: int = 0
    charged: int = 0
    """Those that have usage."""
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    cost_nano_usd: int = 0
    duration_ns: int = 0
    duration_counts: list[int] = msgspec.field(default_factory=lambda: _buckets(DURATION_BOUNDS_NS))
    ttft_ns: int = 0
    ttft_counts: list[int] = msgspec.field(default_factory=lambda: _buckets(TTFT_BOUNDS_NS))
    itl_ns: int = 0
    itl_counts: list[int] = msgspec.field(default_factory=lambda: _buckets(ITL_BOUNDS_NS))


class Served(msgspec.Struct, kw_only=True, array_like=True):
    """All requests that ended on one node."""

    since_ns: int
    ok: int = 0
    client_gone: int = 0
    refused: int = 0
    failed: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    cost_nano_usd: int = 0
    ttft_ns: int = 0
    ttft_count: int = 0
    itl_ns: int = 0
    itl_count: int = 0

    def end(self, outcome: ChargeOutcome) -> None:
        """One request ended so."""
        if outcome is _COMPLETED or outcome is _EMPTY:
            self.ok += 1
        elif outcome is ChargeOutcome.CLIENT_GONE:
            self.client_gone += 1
        elif outcome is ChargeOutcome.REFUSED_BY_NODE:
            self.refused += 1
        else:
            self.failed += 1


class Seen(msgspec.Struct, kw_only=True, array_like=True):
    """How often something was seen."""

    since_ns: int
    times: int = 0


_Record = TypeVar("_Record", Ended, Served, Seen)
_K = TypeVar("_K")
NodeKey = tuple[str, str, str]
EventKey = tuple[str, ...]


class Counts(msgspec.Struct, kw_only=True):
    """Of one process, or the sum of several."""

    ended: dict[Key, Ended] = msgspec.field(default_factory=dict)
    """By endpoint, model, outcome, class of key."""
    served: dict[NodeKey, Served] = msgspec.field(default_factory=dict)
    """By node, supplier, model."""
    events: dict[EventKey, Seen] = msgspec.field(default_factory=dict)
    """By the name of a metric and the values of its labels."""

    def see(self, name: str, labels: tuple[str, ...], now_ns: int) -> None:
        """Count one event. `now_ns` is wall clock."""
        key = (name, *labels)
        seen = self.events.get(key)
        if seen is None:
            if sum(known[0] == name for known in self.events) >= NODES_MAX:
                key = (name, *(OTHER for _ in labels))
            seen = self.events.setdefault(key, Seen(since_ns=now_ns))
        seen.times += 1

    def new_served(self, key: NodeKey, now_ns: int) -> Served:
        """The record of a node that is not there yet, or that of all that are too many."""
        if len(self.served) >= NODES_MAX:
            key = (OTHER, OTHER, OTHER)
        return self.served.setdefault(key, Served(since_ns=now_ns))

    def by_class(self) -> dict[ClassKey, Ended]:
        """By model and class of key."""
        classes: dict[ClassKey, Ended] = {}
        for (_, model, _, key_class), ended in self.ended.items():
            _put(classes, (model, key_class), ended)
        return classes

    def by_model(self) -> dict[str, Ended]:
        models: dict[str, Ended] = {}
        for (_, model, _, _), ended in self.ended.items():
            _put(models, model, ended)
        return models


def total(parts: Iterable[Counts]) -> Counts:
    """The sum; the parts stay as they are."""
    result = Counts()
    for part in parts:
        for key, ended in part.ended.items():
            _put(result.ended, key, ended)
        for node, served in part.served.items():
            _put(result.served, node, served)
        for event, seen in part.events.items():
            _put(result.events, event, seen)
    return result


def _put(to: dict[_K, _Record], key: _K, record: _Record) -> None:
    before = to.get(key)
    to[key] = record if before is None else _sum(before, record)


def _sum(one: _Record, other: _Record) -> _Record:
    values = {}
    pairs = zip(msgspec.structs.astuple(one), msgspec.structs.astuple(other), strict=True)
    for name, (mine, its) in zip(one.__struct_fields__, pairs, strict=True):
        if name == "since_ns":
            values[name] = min(mine, its)
        elif isinstance(mine, list):
            values[name] = list(map(add, mine, its))
        else:
            values[name] = mine + its
    return type(one)(**values)

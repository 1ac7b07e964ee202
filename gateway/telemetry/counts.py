"""What happened since the start, in whole numbers that add up: over time and over processes. Pure.

Label sets are bounded: models come from configuration, endpoints, outcomes, statuses and codes from
enumerations; nothing a client sends becomes a label.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import add
from typing import TypeVar

import msgspec


def _bounds_ns(*bounds_ms: int) -> tuple[int, ...]:
    return tuple(bound * 1_000_000 for bound in bounds_ms)


TTFT_BOUNDS_NS = _bounds_ns(
    5, 10, 20, 40, 80, 150, 300, 600, 1200, 2500, 5000, 10_000, 20_000, 40_000, 80_000
)
ITL_BOUNDS_NS = _bounds_ns(1, 2, 4, 8, 15, 30, 60, 120, 250, 500, 1000, 2000)
DURATION_BOUNDS_NS = _bounds_ns(
    10, 30, 100, 300, 1000, 3000, 10_000, 30_000, 100_000, 300_000, 1_000_000
)

Key = tuple[str, str, str]


def _buckets(bounds_ns: Sequence[int]) -> list[int]:
    """Observations by the first bound that is not below them; the last are above all."""
    return [0] * (len(bounds_ns) + 1)


class Ended(msgspec.Struct, kw_only=True, array_like=True):
    """All requests of one endpoint and model that ended in one way.

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
    resumes: int = 0


class Refused(msgspec.Struct, kw_only=True, array_like=True):
    """Requests turned away for one reason."""

    since_ns: int
    requests: int = 0


class Seen(msgspec.Struct, kw_only=True, array_like=True):
    """How often something about a node was seen."""

    since_ns: int
    times: int = 0


_Record = TypeVar("_Record", Ended, Refused, Seen)
NodeKey = tuple[str, str]


class Counts(msgspec.Struct, kw_only=True):
    """Of one process, or the sum of several."""

    ended: dict[Key, Ended] = msgspec.field(default_factory=dict)
    """By endpoint, model, outcome."""
    refused: dict[Key, Refused] = msgspec.field(default_factory=dict)
    """By endpoint, HTTP status, code."""
    checked: dict[NodeKey, Seen] = msgspec.field(default_factory=dict)
    """Answers that were counted again, by node and what came of it."""
    findings: dict[NodeKey, Seen] = msgspec.field(default_factory=dict)
    """By node and kind."""

    def by_model(self) -> dict[str, Ended]:
        models: dict[str, Ended] = {}
        for (_, model, _), ended in self.ended.items():
            found = models.get(model)
            models[model] = ended if found is None else _sum(found, ended)
        return models


def total(parts: Iterable[Counts]) -> Counts:
    """The sum; the parts stay as they are."""
    result = Counts()
    for part in parts:
        for key, ended in part.ended.items():
            found = result.ended.get(key)
            result.ended[key] = ended if found is None else _sum(found, ended)
        for key, refused in part.refused.items():
            before = result.refused.get(key)
            result.refused[key] = refused if before is None else _sum(before, refused)
        _add(result.checked, part.checked)
        _add(result.findings, part.findings)
    return result


def _add(to: dict[NodeKey, Seen], part: dict[NodeKey, Seen]) -> None:
    for key, seen in part.items():
        before = to.get(key)
        to[key] = seen if before is None else _sum(before, seen)


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

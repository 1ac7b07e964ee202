"""What was seen of one model lately, in slots of time: bounded, and made to add up. Pure.

    slots     5 s each, the last 5 minutes   counts, time to first token, throughput
    minutes   1 min each, the last 150       counts

Slots are numbered by the machine's monotonic clock, which all its processes share.
"""

from __future__ import annotations

from collections.abc import Iterable
from operator import add

import msgspec

from gateway.scorecard.rules import COUNTS
from gateway.sketch import Sketch, merge

SLOT_NS = 5_000_000_000
SLOTS = 61
"""Five minutes and the slot that is being filled."""
MINUTE_NS = 60_000_000_000
MINUTES = 151
"""Two hours, and what the half hour that ended two hours ago began with."""

Counts = list[int]
"""By `End` and `ToolEnd`."""


class Slot(msgspec.Struct, array_like=True):
    counts: Counts = msgspec.field(default_factory=lambda: [0] * COUNTS)
    ttft: Sketch = {}
    """Nanoseconds from acceptance to the first byte, of streams."""
    throughput: Sketch = {}
    """Output tokens in 1000 s, from acceptance to the last byte."""


class Card(msgspec.Struct, array_like=True):
    """Of one model, in one process or in several."""

    slots: dict[int, Slot] = {}
    minutes: dict[int, Counts] = {}

    def slot(self, now_ns: int) -> Slot:
        """Where what happens now belongs; its counts are the caller's to move."""
        number = now_ns // SLOT_NS
        return self.slots.get(number) or self._new_slot(number)

    def minute(self, now_ns: int) -> Counts:
        number = now_ns // MINUTE_NS
        return self.minutes.get(number) or self._new_minute(number)

    def lately(self, now_ns: int, slots: int) -> Counts:
        """The sum of the last slots, beside the one that is being filled."""
        last = now_ns // SLOT_NS
        return _sum(self.slots[n].counts for n in range(last - slots, last + 1) if n in self.slots)

    def before(self, last_minute: int, minutes: int) -> Counts:
        """The sum of a minute and so many before it."""
        wanted = range(last_minute - minutes, last_minute + 1)
        return _sum(self.minutes[n] for n in wanted if n in self.minutes)

    def sketches(self, now_ns: int) -> tuple[Sketch, Sketch]:
        """Time to first token and throughput over five minutes."""
        ttft: Sketch = {}
        throughput: Sketch = {}
        oldest = now_ns // SLOT_NS - SLOTS
        for number, slot in self.slots.items():
            if number > oldest:
                merge(ttft, slot.ttft)
                merge(throughput, slot.throughput)
        return ttft, throughput

    def _new_slot(self, number: int) -> Slot:
        _drop(self.slots, number - SLOTS)
        slot = self.slots[number] = Slot()
        return slot

    def _new_minute(self, number: int) -> Counts:
        _drop(self.minutes, number - MINUTES)
        counts = self.minutes[number] = [0] * COUNTS
        return counts


Cards = dict[str, Card]
"""By model; of what names none of ours by `UNATTRIBUTED`."""

UNATTRIBUTED = ""


def total(parts: Iterable[Cards]) -> Cards:
    """The sum; the parts stay as they are."""
    result: Cards = {}
    for part in parts:
        for model, card in part.items():
            to = result.setdefault(model, Card())
            for number, slot in card.slots.items():
                mine = to.slots.setdefault(number, Slot())
                mine.counts = list(map(add, mine.counts, slot.counts))
                merge(mine.ttft, slot.ttft)
                merge(mine.throughput, slot.throughput)
            for number, counts in card.minutes.items():
                known = to.minutes.get(number)
                to.minutes[number] = list(map(add, known, counts)) if known else list(counts)
    return result


def _sum(parts: Iterable[Counts]) -> Counts:
    result = [0] * COUNTS
    for part in parts:
        result = list(map(add, result, part))
    return result


def _drop(numbered: dict[int, Slot] | dict[int, Counts], oldest: int) -> None:
    for number in [number for number in numbered if number <= oldest]:
        del numbered[number]

"""What the explorer shows, gathered from the rooms that know it. It blocks: not for the loop."""

from __future__ import annotations

import time
from collections.abc import Sequence

import msgspec

from gateway.admission.catalogue import Model
from gateway.console.census import Census, Member, census, members
from gateway.console.fresh import Fresh
from gateway.console.latency import Wait, wait_of, waits_by
from gateway.console.parts import Parts
from gateway.console.sightings import Sightings
from gateway.enrolment.node import Node
from ide.commitment import EpochHead, head_of
from metering.prices import ModelPrice
from metering.served_totals import Served, ServedTotals

DAY_NS = 86_400 * 10**9
DAYS_SHOWN = 14
EPOCHS_SHOWN = 8
ANSWERS_MAX = 5_000
"""Of the latest answers, of which latency is told."""
KEPT_NS = 5 * 10**9
TOTALS_KEPT_NS = 30 * 10**9
_NODES_PAGE = 1_000
_PER_MILLION = 10**6
NO_REGION = "not stated"


class ModelLine(msgspec.Struct, frozen=True, kw_only=True):
    """A model on sale. Prices in nano-USD a million tokens, and a request."""

    id: str
    description: str
    demo: bool
    kinds: tuple[str, ...]
    context_tokens: int
    prompt: int
    cached_prompt: int
    completion: int
    request: int
    nodes_ready: int


class RegionLine(msgspec.Struct, frozen=True, kw_only=True):
    region: str
    nodes: int
    active: int
    wait: Wait


class DayLine(msgspec.Struct, frozen=True, kw_only=True):
    """`share` is its tokens in thousandths of the day with the most."""

    day: int
    requests: int
    prompt_tokens: int
    completion_tokens: int
    share: int


class Totals(msgspec.Struct, frozen=True, kw_only=True):
    requests: int
    prompt_tokens: int
    completion_tokens: int
    days: tuple[DayLine, ...]
    """The last ones, today included, whether or not anything was served."""


class Network(msgspec.Struct, frozen=True, kw_only=True):
    as_of_ns: int
    models: tuple[ModelLine, ...]
    census: Census
    regions: tuple[RegionLine, ...]
    totals: Totals
    epochs: tuple[EpochHead, ...]


class Observatory:
    """Thread-safe; each part is worked out once in some seconds, however many ask."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._served = ServedTotals(parts.books.reports)
        self._totals = Fresh(self._read_totals, TOTALS_KEPT_NS, time.monotonic_ns)
        self._enrolled = Fresh(self.enrolled, KEPT_NS, time.monotonic_ns)
        self._waits = Fresh(self._read_waits, TOTALS_KEPT_NS, time.monotonic_ns)

    def network(self, sightings: Sightings) -> Network:
        """Raises LedgerError."""
        found = self.members(sightings, self._enrolled.get())
        return Network(
            as_of_ns=time.time_ns(),
            models=tuple(
                _line(model, model.price_at(time.time_ns()), sightings.ready(model.id))
                for model in self._parts.catalogue
            ),
            census=census(found),
            regions=tuple(self._regions(found)),
            totals=self._totals.get(),
            epochs=tuple(
                head_of(seal)
                for seal in self._parts.books.epochs.newest(before=None, limit=EPOCHS_SHOWN)
            ),
        )

    def members(self, sightings: Sightings, enrolled: Sequence[Node]) -> list[Member]:
        """Every registered node."""
        return members(
            sightings.views,
            enrolled,
            honest=sightings.honest,
            in_flight=sightings.in_flight,
            monotonic_ns=sightings.monotonic_ns,
            now_ns=time.time_ns(),
        )

    def enrolled(self) -> list[Node]:
        """Those that ever did. Raises LedgerError."""
        store, found, after = self._parts.books.nodes, list[Node](), ""
        while page := store.page(after=after, limit=_NODES_PAGE):
            found += page
            after = page[-1].node_id
        return found

    def totals(self) -> Totals:
        """Raises LedgerError."""
        return self._totals.get()

    def waits_by_node(self) -> dict[str, Wait]:
        """Raises LedgerError."""
        first_tokens = self._waits.get()
        return waits_by(first_tokens, {node_id: node_id for node_id, _ in first_tokens})

    def _regions(self, found: Sequence[Member]) -> list[RegionLine]:
        region_of = {member.node_id: member.region or NO_REGION for member in found}
        waits = waits_by(self._waits.get(), region_of)
        return [
            RegionLine(
                region=region,
                nodes=sum(region_of[member.node_id] == region for member in found),
                active=sum(
                    member.active and region_of[member.node_id] == region for member in found
                ),
                wait=waits.get(region, wait_of(())),
            )
            for region in sorted(set(region_of.values()))
        ]

    def _read_waits(self) -> list[tuple[str, int]]:
        return self._served.first_tokens(time.time_ns() - DAY_NS, ANSWERS_MAX)

    def _read_totals(self) -> Totals:
        return totals_of(self._served.by_day(), time.time_ns() // DAY_NS)


def totals_of(served: Sequence[Served], today: int) -> Totals:
    first = today - DAYS_SHOWN + 1
    sums = {day: [0, 0, 0] for day in range(first, today + 1)}
    for each in served:
        if each.day in sums:
            figures = (each.requests, each.prompt_tokens, each.completion_tokens)
            sums[each.day] = [sum(pair) for pair in zip(sums[each.day], figures, strict=True)]
    most = max(prompt + completion for _, prompt, completion in sums.values()) or 1
    return Totals(
        requests=sum(each.requests for each in served),
        prompt_tokens=sum(each.prompt_tokens for each in served),
        completion_tokens=sum(each.completion_tokens for each in served),
        days=tuple(
            DayLine(
                day=day,
                requests=requests,
                prompt_tokens=prompt,
                completion_tokens=completion,
                share=1000 * (prompt + completion) // most,
            )
            for day, (requests, prompt, completion) in sums.items()
        ),
    )


def _line(model: Model, price: ModelPrice, nodes_ready: int) -> ModelLine:
    config = model.config
    return ModelLine(
        id=model.id,
        description=config.description,
        demo=config.demo,
        kinds=tuple(kind.value for kind in config.kinds),
        context_tokens=config.context_tokens_max,
        prompt=price.prompt_nano_usd * _PER_MILLION,
        cached_prompt=price.cached_prompt_nano_usd * _PER_MILLION,
        completion=price.completion_nano_usd * _PER_MILLION,
        request=price.request_nano_usd,
        nodes_ready=nodes_ready,
    )

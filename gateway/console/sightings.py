"""What the event loop knows of nodes at one moment, taken there for a thread to work on."""

from __future__ import annotations

import time

import msgspec

from gateway.console.door import Parts
from gateway.honesty.recounts import Checked
from gateway.telemetry.counts import Counts, total
from gateway.telemetry.node_metrics import RECOUNTS
from gateway.telemetry.reports import as_one
from router.types import Condition, NodeView

_IN_FLIGHT = "tollgate_node_in_flight"
_OPEN = frozenset({Condition.READY, Condition.HALF_OPEN})


class Sightings(msgspec.Struct, frozen=True, kw_only=True):
    monotonic_ns: int
    views: tuple[NodeView, ...]
    """Every listed node, as this process sees it."""
    in_flight: dict[str, int]
    """By node, of all workers."""
    counts: Counts
    """Of all workers, since they were started."""

    @property
    def honest(self) -> frozenset[str]:
        """Nodes of which an answer was counted again, and held."""
        return frozenset(
            event[1]
            for event in self.counts.events
            if event[0] == RECOUNTS.name and event[2] == Checked.HONEST
        )

    def ready(self, model: str) -> int:
        return sum(
            view.node.model == model and view.condition(self.monotonic_ns) in _OPEN
            for view in self.views
        )


async def sight(parts: Parts) -> Sightings:
    reports = await parts.telemetry.reports()
    in_flight = dict[str, int]()
    for metric in as_one(reports):
        if metric.name == _IN_FLIGHT:
            for sample in metric.samples:
                in_flight[sample.labels["node"]] = int(sample.value)
    now_ns = time.monotonic_ns()
    return Sightings(
        monotonic_ns=now_ns,
        views=tuple(parts.router.nodes(now_ns)),
        in_flight=in_flight,
        counts=total(report.counts for report in reports),
    )

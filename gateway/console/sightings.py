"""What the event loop knows of nodes at one moment, taken there for a thread to work on."""

from __future__ import annotations

import time
from collections.abc import Iterator

import msgspec

from gateway.console.parts import Parts
from gateway.honesty.recounts import Checked
from gateway.telemetry.counts import Counts, total
from gateway.telemetry.node_metrics import RECOUNTS
from gateway.telemetry.reports import as_one
from gateway.telemetry.traffic_metrics import REFUSALS
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
    scores: dict[str, int]
    """The reputation of each listed node, of 1000, as this process sees it."""
    gauges: dict[str, float]
    """Of all workers: those that are one figure, by name."""

    @property
    def honest(self) -> frozenset[str]:
        """Nodes of which an answer was counted again, and held."""
        return frozenset(
            node for node, results in self.checked.items() if Checked.HONEST in results
        )

    @property
    def checked(self) -> dict[str, dict[str, int]]:
        """Answers of each node that were counted again, by what came of it."""
        nodes = dict[str, dict[str, int]]()
        for (node, result), times in self._events(RECOUNTS.name):
            nodes.setdefault(node, {})[result] = times
        return nodes

    @property
    def refused(self) -> dict[tuple[str, str, str], int]:
        """Requests that were turned away, by endpoint, status and code."""
        found = dict[tuple[str, str, str], int]()
        for (endpoint, status, code, _), times in self._events(REFUSALS.name):
            key = (endpoint, status, code)
            found[key] = found.get(key, 0) + times
        return found

    def _events(self, name: str) -> Iterator[tuple[tuple[str, ...], int]]:
        for event, seen in self.counts.events.items():
            if event[0] == name:
                yield event[1:], seen.times

    def ready(self, model: str) -> int:
        return sum(
            view.node.model == model and view.condition(self.monotonic_ns) in _OPEN
            for view in self.views
        )


async def sight(parts: Parts) -> Sightings:
    reports = await parts.telemetry.reports()
    in_flight, gauges = dict[str, int](), dict[str, float]()
    for metric in as_one(reports):
        if metric.type == "gauge" and len(metric.samples) == 1 and not metric.samples[0].labels:
            gauges[metric.name] = metric.samples[0].value
        if metric.name == _IN_FLIGHT:
            for sample in metric.samples:
                in_flight[sample.labels["node"]] = int(sample.value)
    now_ns, conducts = time.monotonic_ns(), parts.router.conducts
    views = tuple(parts.router.nodes(now_ns))
    conduct_of = {view.node.node_id: conducts.known(view.node.node_id) for view in views}
    return Sightings(
        monotonic_ns=now_ns,
        views=views,
        scores={node: conduct.score for node, conduct in conduct_of.items() if conduct},
        in_flight=in_flight,
        counts=total(report.counts for report in reports),
        gauges=gauges,
    )

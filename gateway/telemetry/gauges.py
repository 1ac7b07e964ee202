"""What is true of this process now: read from its owners when Prometheus asks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Protocol

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from gateway.telemetry import book_metrics as books
from gateway.telemetry import node_metrics as node
from gateway.telemetry import traffic_metrics as traffic
from gateway.telemetry.definition import Definition
from gateway.telemetry.family import NANO, gauge_family, gauge_of
from gateway.telemetry.node_metrics import NODES_MAX, OTHER
from router.router import Router
from router.types import Condition, NodeView


class Tills(Protocol):
    """What of a `Till` is told."""

    @property
    def backlog_rows(self) -> int: ...
    @property
    def rows_max(self) -> int: ...
    @property
    def lag_seconds(self) -> float: ...
    @property
    def posting(self) -> bool: ...
    @property
    def recording(self) -> bool: ...
    @property
    def held_nano_usd(self) -> int: ...
    @property
    def sharing_away(self) -> bool: ...


class Gauges(Collector):
    def __init__(
        self,
        router: Router,
        till: Tills,
        open_exchanges: Callable[[], int],
        draining: Callable[[], bool],
    ) -> None:
        self._router = router
        self._till = till
        self._open_exchanges = open_exchanges
        self._draining = draining

    def collect(self) -> Iterator[Metric]:
        till = self._till
        yield gauge_of(traffic.IN_FLIGHT, self._open_exchanges())
        yield gauge_of(traffic.HELD, till.held_nano_usd / NANO)
        yield gauge_of(traffic.DRAINING, int(self._draining()))
        yield gauge_of(books.BACKLOG, till.backlog_rows)
        yield gauge_of(books.ROWS_MAX, till.rows_max)
        yield gauge_of(books.LAG, till.lag_seconds)
        yield gauge_of(books.POSTING, int(till.posting))
        yield gauge_of(books.RECORDING, int(till.recording))
        yield gauge_of(books.SHARING_AWAY, int(till.sharing_away))
        yield from self._nodes(time.monotonic_ns())

    def _nodes(self, now_ns: int) -> Iterator[Metric]:
        views = self._router.nodes(now_ns)
        named, rest = views[:NODES_MAX], views[NODES_MAX:]
        of_node = [(_labels(view), view) for view in named]
        conditions = [(labels, view.condition(now_ns)) for labels, view in of_node]
        states = [
            ((*labels, condition.value), float(condition is current))
            for labels, current in conditions
            for condition in Condition
        ]
        other = (OTHER, OTHER, OTHER)
        if rest:
            found = [view.condition(now_ns) for view in rest]
            states += [((*other, each.value), found.count(each)) for each in Condition]
        yield gauge_family(node.NODE_STATE, states)
        for metric, of in _SUMS.items():
            values = [(labels, of(view)) for labels, view in of_node]
            if rest:
                values.append((other, sum(map(of, rest))))
            yield gauge_family(metric, values)
        yield gauge_family(node.NODE_STANDING, [(of, view.standing) for of, view in of_node])
        score = self._router.score
        scores = [(of, float(score(view.node.node_id))) for of, view in of_node]
        yield gauge_family(node.NODE_REPUTATION, scores)
        loads = [(of, view.load) for of, view in of_node if view.load is not None]
        if loads:
            yield gauge_family(node.NODE_WAITING, [(of, load.waiting) for of, load in loads])
            yield gauge_family(node.NODE_RUNNING, [(of, load.running) for of, load in loads])
            yield gauge_family(node.NODE_KV_USE, [(of, load.kv_use) for of, load in loads])


_SUMS: dict[Definition, Callable[[NodeView], int]] = {
    node.NODE_CAPACITY: lambda view: view.node.capacity,
    node.NODE_IN_FLIGHT: lambda view: view.in_flight,
}


def _labels(view: NodeView) -> tuple[str, str, str]:
    return view.node.node_id, view.node.supplier_id, view.node.model

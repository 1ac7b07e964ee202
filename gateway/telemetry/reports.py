"""What one worker tells the others of itself, and how several are told as one. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import msgspec
from prometheus_client.metrics_core import Metric

from gateway.scorecard.card import Cards
from gateway.telemetry.all_metrics import GAUGES
from gateway.telemetry.counts import Counts, total
from gateway.telemetry.definition import OverWorkers
from gateway.telemetry.exposition import families

_COMBINE: dict[OverWorkers, Callable[[float, float], float]] = {
    OverWorkers.SUM: float.__add__,
    OverWorkers.MAX: max,
    OverWorkers.MIN: min,
}
_ACROSS_WORKERS = {
    name: _COMBINE[metric.over_workers]
    for name, metric in GAUGES.items()
    if metric.over_workers is not OverWorkers.LABEL
}
"""How a gauge of several workers becomes one. Any other gets the label `worker`."""

_Sample = tuple[str, dict[str, str], float]
_Series = tuple[str, tuple[tuple[str, str], ...]]


class Family(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """A metric as its collector told it."""

    name: str
    help: str
    type: str
    samples: list[_Sample]


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """One worker at one time."""

    run: str
    """Names the supervisor's life: what an earlier one left behind does not count."""
    worker: int | None
    """None if there is only one."""
    pid: int
    counts: Counts
    gauges: list[Family]
    """And all else that is true of the worker now, such as its memory."""
    cards: Cards = {}
    """Its part of the scorecard."""

    def after_death(self) -> Report:
        left = [
            family
            for family in self.gauges
            if family.name in GAUGES and GAUGES[family.name].outlives_worker
        ]
        return msgspec.structs.replace(self, gauges=left)


def family_of(metric: Metric) -> Family:
    samples = [(sample.name, sample.labels, float(sample.value)) for sample in metric.samples]
    return Family(name=metric.name, help=metric.documentation, type=metric.type, samples=samples)


def as_one(reports: Sequence[Report]) -> Iterator[Metric]:
    """The metrics of all: counters and histograms add up, gauges each by their own meaning."""
    yield from _gauges(reports)
    yield from families(total(report.counts for report in reports))


def _gauges(reports: Sequence[Report]) -> Iterator[Metric]:
    told: dict[str, tuple[Family, dict[_Series, float]]] = {}
    for report in reports:
        for family in report.gauges:
            combine = _ACROSS_WORKERS.get(family.name)
            _, series = told.setdefault(family.name, (family, {}))
            for name, labels, value in family.samples:
                if combine is None and report.worker is not None:
                    labels = {**labels, "worker": str(report.worker)}
                key = (name, tuple(labels.items()))
                known = series.get(key)
                series[key] = value if known is None or combine is None else combine(known, value)
    for family, series in told.values():
        metric = Metric(family.name, family.help, family.type)
        for (name, pairs), value in series.items():
            metric.add_sample(name, dict(pairs), value)
        yield metric

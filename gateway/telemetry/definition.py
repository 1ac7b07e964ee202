"""What a metric is: name, type, labels, unit, meaning. docs/metrics.md is made of these. Pure."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class Kind(StrEnum):
    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"
    SUMMARY = "summary"
    """Sum and count, no quantiles."""


class OverWorkers(StrEnum):
    """How a gauge of several workers becomes one. Everything else adds up."""

    SUM = "sum"
    MAX = "max"
    MIN = "min"
    LABEL = "label"
    """It stays one of each worker, told apart by the label `worker`."""


class Definition(msgspec.Struct, frozen=True, kw_only=True):
    """`name` is without a counter's `_total`; `help` is what Prometheus shows of it."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    unit: str = ""
    """In words where the name has none."""
    over_workers: OverWorkers = OverWorkers.SUM
    outlives_worker: bool = False
    """A gauge that is true of a dead worker until its successor says better."""

    @property
    def exposed(self) -> str:
        """The name as queries use it, but for what a histogram appends."""
        return f"{self.name}_total" if self.kind is Kind.COUNTER else self.name

    @property
    def unit_told(self) -> str:
        """Its unit; for what the name ends in, that."""
        if self.unit:
            return self.unit
        last = self.name.rpartition("_")[2]
        return last if last in ("seconds", "usd", "bytes", "ratio", "tokens", "rows") else "1"


def counter(name: str, help: str, *labels: str) -> Definition:
    return Definition(name=name, kind=Kind.COUNTER, help=help, labels=labels)


def histogram(name: str, help: str, *labels: str) -> Definition:
    return Definition(name=name, kind=Kind.HISTOGRAM, help=help, labels=labels)


def summary(name: str, help: str, *labels: str) -> Definition:
    return Definition(name=name, kind=Kind.SUMMARY, help=help, labels=labels)


def gauge(
    name: str,
    help: str,
    *labels: str,
    unit: str = "",
    over_workers: OverWorkers = OverWorkers.SUM,
    outlives_worker: bool = False,
) -> Definition:
    return Definition(
        name=name,
        kind=Kind.GAUGE,
        help=help,
        labels=labels,
        unit=unit,
        over_workers=over_workers,
        outlives_worker=outlives_worker,
    )

"""How full budgets are, as gauges: counted by band, so that no key and no account is a label."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator

import msgspec
from prometheus_client.metrics_core import Metric

from gateway.telemetry import book_metrics as books
from gateway.telemetry.family import gauge_family
from metering.budget_use import BudgetUse, Use
from metering.purse import Quota

BANDS = ("under_half", "half", "nine_tenths", "full")
ONE_IN = 50
"""The part of a thread's time that adding up may take: the more there is, the less often."""


class _Read(msgspec.Struct, frozen=True, kw_only=True):
    caps: dict[str, int]
    credit_lines: dict[str, int]
    """Of either how many, by band."""
    quotas: dict[str, float]
    """By name: the part that the account with the most of it has used."""


class BudgetFigures:
    def __init__(
        self,
        use: BudgetUse,
        quotas: Iterable[Quota],
        *,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._use = use
        self._quotas = {quota.name: quota for quota in quotas}
        self._clock_s = clock_s
        self._due_s = 0.0
        self._read: _Read | None = None

    def look(self) -> None:
        """Add up, if it is time. Blocks. Raises LedgerError."""
        began_s = self._clock_s()
        if began_s < self._due_s:
            return
        most = {name: self._use.most_of(quota) for name, quota in self._quotas.items()}
        self._read = _Read(
            caps=Counter(band(each) for each in self._use.caps()),
            credit_lines=Counter(band(each) for each in self._use.credit_lines()),
            quotas={name: each.used / each.limit for name, each in most.items()},
        )
        ended_s = self._clock_s()
        self._due_s = ended_s + ONE_IN * (ended_s - began_s)

    def families(self) -> Iterator[Metric]:
        read = self._read
        if read is not None:
            yield gauge_family(books.CAPS, _by_band(read.caps))
            yield gauge_family(books.CREDIT_LINES, _by_band(read.credit_lines))
            yield gauge_family(
                books.QUOTA_USE, [((name,), part) for name, part in read.quotas.items()]
            )


def band(use: Use) -> str:
    if use.used >= use.limit:
        return "full"
    if 10 * use.used >= 9 * use.limit:
        return "nine_tenths"
    return "half" if 2 * use.used >= use.limit else "under_half"


def _by_band(counted: dict[str, int]) -> list[tuple[tuple[str], float]]:
    return [((each,), counted.get(each, 0)) for each in BANDS]

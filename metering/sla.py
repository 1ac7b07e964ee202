"""SLAs: from the charges of a day or month to what was missed and what is given back for it. Pure.

An objective may be about availability (over the whole period) and about the time to the first
token (its 95th percentile in each hour of the period). If availability was missed, the credit is a
share of all that the account spent under the objective in the period; else of what it spent in the
hours that were too slow. The credit is rounded down: the network keeps less than a nano-dollar.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

import msgspec

from metering import accounts
from metering.charge import ChargeOutcome
from metering.money import PPM, mul_div_ceil, mul_div_floor
from metering.month import DAY_NS, Month, day_text, month_at
from metering.transfer import Group, Transfer, TransferKind

CODE_SLA_CREDIT = "sla_credit"
HOUR_NS = 3_600_000_000_000
P95 = (95, 100)

_MS_NS = 1_000_000
_FAILED = frozenset(
    {
        ChargeOutcome.NODE_BROKEN,
        ChargeOutcome.NODE_ERROR,
        ChargeOutcome.NO_CAPACITY,
        ChargeOutcome.TIMED_OUT,
        ChargeOutcome.EMPTY,
        ChargeOutcome.GATEWAY_CRASH,
    }
)
"""The network's failures. A client that left was being served."""
_NOT_COUNTED = frozenset({ChargeOutcome.REFUSED_BY_NODE})
"""The request's own fault."""


class SlaPeriod(StrEnum):
    DAY = "day"
    MONTH = "month"


class Objective(msgspec.Struct, frozen=True, kw_only=True):
    """What is promised to one account or to each, for one model or for all of them together."""

    name: str
    account: str | None
    model: str | None
    period: SlaPeriod
    since_ns: int
    """The first period is the one that begins then, or after."""
    availability_ppm: int | None
    ttft_p95_ms: int | None
    credit_ppm: int
    requests_min: int
    """A period, and an hour, with fewer is not judged: one request in two is no percentile."""


class Period(msgspec.Struct, frozen=True):
    name: str
    start_ns: int
    end_ns: int


class SlaRow(msgspec.Struct, frozen=True):
    """What an SLA looks at of a charge. One belongs to the period and hour in which it ended."""

    account: str
    model: str
    closed_ns: int
    outcome: str
    ttft_ns: int | None
    charged_nano_usd: int


class SlowHour(msgspec.Struct, frozen=True, kw_only=True):
    """Evidence: an hour that missed its objective. Unix time."""

    start_s: int
    requests: int
    ttft_p95_ms: int
    spent_nano_usd: int


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """How an account fared under an objective in a period, with the figures that say so."""

    sla: str
    account: str
    model: str | None
    period: str
    requests: int
    failed: int
    availability_ppm: int | None
    """Rounded down; what is compared is exact. None: too few requests to judge."""
    availability_objective_ppm: int | None
    availability_missed: bool
    ttft_p95_objective_ms: int | None
    hours_judged: int
    slow_hours: tuple[SlowHour, ...]
    spent_nano_usd: int
    base_nano_usd: int
    """What the credit is a share of."""
    credit_ppm: int
    credit_nano_usd: int

    @property
    def missed(self) -> bool:
        return self.availability_missed or bool(self.slow_hours)


class _Hour:
    __slots__ = ("failed", "requests", "spent", "ttfts")

    def __init__(self) -> None:
        self.requests = self.failed = self.spent = 0
        self.ttfts: list[int] = []


def periods(objective: Objective, before_ns: int) -> list[Period]:
    """All that began since the objective holds and ended by `before_ns`, the oldest first."""
    found = []
    at_ns = objective.since_ns
    while (period := period_at(objective.period, at_ns)).end_ns <= before_ns:
        if period.start_ns >= objective.since_ns:
            found.append(period)
        at_ns = period.end_ns
    return found


def period_at(kind: SlaPeriod, at_ns: int) -> Period:
    if kind is SlaPeriod.MONTH:
        month: Month = month_at(at_ns)
        return Period(str(month), month.start_ns, month.end_ns)
    day = at_ns // DAY_NS
    return Period(day_text(day), day * DAY_NS, (day + 1) * DAY_NS)


def judge(objective: Objective, period: Period, rows: Iterable[SlaRow]) -> list[Verdict]:
    """A verdict for each account with charges under the objective in the period, by name."""
    by_account: dict[str, dict[int, _Hour]] = {}
    for row in rows:
        if not _applies(objective, period, row):
            continue
        hours = by_account.setdefault(row.account, {})
        hour = hours.setdefault(row.closed_ns // HOUR_NS, _Hour())
        hour.spent += row.charged_nano_usd
        if row.outcome == ChargeOutcome.RESUMED:
            continue
        hour.requests += 1
        hour.failed += row.outcome in _FAILED
        if row.ttft_ns is not None:
            hour.ttfts.append(row.ttft_ns)
    return [
        _verdict(objective, period, account, hours) for account, hours in sorted(by_account.items())
    ]


def _applies(objective: Objective, period: Period, row: SlaRow) -> bool:
    return (
        period.start_ns <= row.closed_ns < period.end_ns
        and objective.account in (None, row.account)
        and objective.model in (None, row.model)
        and row.outcome not in _NOT_COUNTED
    )


def _verdict(
    objective: Objective, period: Period, account: str, hours: dict[int, _Hour]
) -> Verdict:
    requests = sum(hour.requests for hour in hours.values())
    failed = sum(hour.failed for hour in hours.values())
    spent = sum(hour.spent for hour in hours.values())
    promised = objective.availability_ppm
    enough = requests >= objective.requests_min
    missed = promised is not None and enough and (requests - failed) * PPM < promised * requests
    judged, slow = _slow_hours(objective, hours)
    base = spent if missed else sum(hour.spent_nano_usd for hour in slow)
    return Verdict(
        sla=objective.name,
        account=account,
        model=objective.model,
        period=period.name,
        requests=requests,
        failed=failed,
        availability_ppm=mul_div_floor(requests - failed, PPM, requests) if enough else None,
        availability_objective_ppm=promised,
        availability_missed=missed,
        ttft_p95_objective_ms=objective.ttft_p95_ms,
        hours_judged=judged,
        slow_hours=slow,
        spent_nano_usd=spent,
        base_nano_usd=base,
        credit_ppm=objective.credit_ppm,
        credit_nano_usd=mul_div_floor(base, objective.credit_ppm, PPM),
    )


def _slow_hours(objective: Objective, hours: dict[int, _Hour]) -> tuple[int, tuple[SlowHour, ...]]:
    if objective.ttft_p95_ms is None:
        return 0, ()
    judged = 0
    slow = []
    for number, hour in sorted(hours.items()):
        if len(hour.ttfts) < max(1, objective.requests_min):
            continue
        judged += 1
        p95_ns = percentile(hour.ttfts, *P95)
        if p95_ns > objective.ttft_p95_ms * _MS_NS:
            slow.append(
                SlowHour(
                    start_s=number * 3600,
                    requests=len(hour.ttfts),
                    ttft_p95_ms=mul_div_ceil(p95_ns, 1, _MS_NS),
                    spent_nano_usd=hour.spent,
                )
            )
    return judged, tuple(slow)


def percentile(values: list[int], numerator: int, denominator: int) -> int:
    """By nearest rank: the smallest value that so large a part of all is not above."""
    rank = mul_div_ceil(len(values), numerator, denominator)
    return sorted(values)[max(0, rank - 1)]


def credit_id(sla: str, account: str, period: str) -> str:
    return f"sla:{sla}:{account}:{period}"


def credit_group(verdict: Verdict) -> Group:
    """From the network to the customer, with the verdict as evidence under the hash chain."""
    credit = Transfer(
        id=credit_id(verdict.sla, verdict.account, verdict.period),
        kind=TransferKind.SINGLE,
        debit=accounts.USD_SLA,
        credit=accounts.customer(verdict.account),
        amount=verdict.credit_nano_usd,
        code=CODE_SLA_CREDIT,
        detail=msgspec.json.encode(verdict, order="sorted").decode(),
    )
    return Group(transfers=(credit,))


def verdict_of(detail: str) -> Verdict:
    return msgspec.json.decode(detail, type=Verdict)

"""One closed epoch in the figures that are told of it, and those as gauges. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec
from prometheus_client.metrics_core import Metric

from gateway.telemetry import epoch_metrics as metrics
from gateway.telemetry.definition import Definition
from gateway.telemetry.epoch_metrics import SUPPLIERS_MAX
from gateway.telemetry.family import NANO, gauge_family, gauge_of
from gateway.telemetry.node_metrics import OTHER
from ide.epoch import Alarm
from ide.params import MONTH_S
from metering.ledger import EpochRow
from metering.money import IO_UNIT, PPM

_WITH_PAYOUTS_BYTES = 1024 * 1024
"""A record that is longer is read without its suppliers: the interpreter is held meanwhile."""


class SupplierFigures(msgspec.Struct, frozen=True, kw_only=True):
    supplier_id: str
    obligation_nano_usd: int
    debt_before_nano_usd: int
    io_value_nano_usd: int
    usd_paid_nano_usd: int

    @property
    def owed_nano_usd(self) -> int:
        return self.obligation_nano_usd + self.debt_before_nano_usd

    @property
    def paid_nano_usd(self) -> int:
        return self.io_value_nano_usd + self.usd_paid_nano_usd


class EpochFigures(msgspec.Struct, frozen=True, kw_only=True):
    """What of an `ide.epoch.EpochReport` is told; fields as there."""

    epoch: int
    io_price_nano_usd: int | None
    revenue_nano_usd: int
    stipend_nano_usd: int
    obligation_nano_usd: int
    psi_raw_ppm: int | None
    psi_smoothed_ppm: int | None
    io_released: int
    io_paid: int
    io_value_nano_usd: int
    usd_paid_nano_usd: int
    unpaid_nano_usd: int
    debt_after_nano_usd: int
    reserve_nano_usd: int
    burn_share_ppm: int
    surplus_nano_usd: int
    buyback_spent_nano_usd: int
    io_burned: int
    io_retired: int
    runway_months: int
    alarms: tuple[Alarm, ...]
    closed_ns: int = 0
    """Wall clock."""
    payouts: tuple[SupplierFigures, ...] = ()


class _Brief(EpochFigures, frozen=True, kw_only=True):
    payouts: msgspec.Raw = msgspec.Raw()  # type: ignore[assignment]


def figures_of_epoch(row: EpochRow) -> EpochFigures:
    if len(row.result) > _WITH_PAYOUTS_BYTES:
        brief = msgspec.json.decode(row.result, type=_Brief)
        fields = msgspec.structs.asdict(brief) | {"payouts": (), "closed_ns": row.created_ns}
        return EpochFigures(**fields)
    figures = msgspec.json.decode(row.result, type=EpochFigures)
    return msgspec.structs.replace(figures, closed_ns=row.created_ns)


def epoch_families(figures: EpochFigures) -> Iterator[Metric]:
    yield gauge_of(metrics.EPOCH, figures.epoch)
    yield gauge_of(metrics.EPOCH_CLOSED, figures.closed_ns / NANO)
    psi = {"raw": figures.psi_raw_ppm, "smoothed": figures.psi_smoothed_ppm}
    yield gauge_family(
        metrics.EPOCH_PSI,
        [((kind,), ppm / PPM) for kind, ppm in psi.items() if ppm is not None],
    )
    yield gauge_of(metrics.EPOCH_RUNWAY, figures.runway_months * MONTH_S)
    if figures.io_price_nano_usd is not None:
        yield gauge_of(metrics.EPOCH_PRICE, figures.io_price_nano_usd / NANO)
    for metric, nano_usd in _amounts(figures):
        yield gauge_of(metric, nano_usd / NANO)
    paid = {"io": figures.io_value_nano_usd, "usd": figures.usd_paid_nano_usd}
    yield gauge_family(metrics.EPOCH_PAID, [((asset,), n / NANO) for asset, n in paid.items()])
    yield gauge_of(metrics.EPOCH_BURN_SHARE, figures.burn_share_ppm / PPM)
    moved = {
        "released": figures.io_released,
        "paid": figures.io_paid,
        "burned": figures.io_burned,
        "retired": figures.io_retired,
    }
    yield gauge_family(metrics.EPOCH_IO, [((how,), io / IO_UNIT) for how, io in moved.items()])
    raised = [((alarm.value,), int(alarm in figures.alarms)) for alarm in Alarm]
    yield gauge_family(metrics.EPOCH_ALARM, raised)
    yield from _suppliers(figures.payouts)


def _amounts(figures: EpochFigures) -> tuple[tuple[Definition, int], ...]:
    return (
        (metrics.EPOCH_REVENUE, figures.revenue_nano_usd),
        (metrics.EPOCH_OBLIGATION, figures.obligation_nano_usd),
        (metrics.EPOCH_STIPEND, figures.stipend_nano_usd),
        (metrics.EPOCH_UNPAID, figures.unpaid_nano_usd),
        (metrics.EPOCH_DEBT, figures.debt_after_nano_usd),
        (metrics.EPOCH_RESERVE, figures.reserve_nano_usd),
        (metrics.EPOCH_SURPLUS, figures.surplus_nano_usd),
        (metrics.EPOCH_BUYBACK, figures.buyback_spent_nano_usd),
    )


def _suppliers(payouts: Sequence[SupplierFigures]) -> Iterator[Metric]:
    if not payouts:
        return
    largest = sorted(payouts, key=lambda payout: payout.owed_nano_usd, reverse=True)
    named, rest = largest[:SUPPLIERS_MAX], largest[SUPPLIERS_MAX:]
    owed = [((each.supplier_id,), each.owed_nano_usd / NANO) for each in named]
    paid = [((each.supplier_id,), each.paid_nano_usd / NANO) for each in named]
    if rest:
        owed.append(((OTHER,), sum(each.owed_nano_usd for each in rest) / NANO))
        paid.append(((OTHER,), sum(each.paid_nano_usd for each in rest) / NANO))
    yield gauge_family(metrics.EPOCH_SUPPLIER_OWED, owed)
    yield gauge_family(metrics.EPOCH_SUPPLIER_PAID, paid)

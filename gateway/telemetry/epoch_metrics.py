"""The metrics of the IDE: the latest epoch, and the price of IO. Pure.

All but the oracle's are of the epoch that was closed last and stay until the next one.
`SUPPLIERS_MAX` suppliers are told by name, those owed most; the rest together as `other`.
"""

from __future__ import annotations

from gateway.telemetry.definition import Definition, OverWorkers, gauge

SUPPLIERS_MAX = 100


def _of_epoch(name: str, help: str, *labels: str, unit: str = "") -> Definition:
    return gauge(name, help, *labels, unit=unit, over_workers=OverWorkers.MAX)


EPOCH = _of_epoch("tollgate_epoch", "Number of the latest epoch")
EPOCH_CLOSED = _of_epoch(
    "tollgate_epoch_closed_timestamp_seconds", "When the latest epoch was closed, in Unix time"
)
EPOCH_PSI = _of_epoch(
    "tollgate_epoch_psi_ratio",
    "Revenue over what is owed to suppliers, raw and smoothed over 30 days; none if none was owed",
    "kind",
)
EPOCH_RUNWAY = _of_epoch(
    "tollgate_epoch_runway_seconds",
    "How long all that is owed can be paid if nothing changes; ten years are the most it says",
)
EPOCH_PRICE = _of_epoch(
    "tollgate_epoch_io_price_usd", "USD for one IO in the latest epoch; none if there was no price"
)
EPOCH_REVENUE = _of_epoch("tollgate_epoch_revenue_usd", "What customers paid in the epoch")
EPOCH_OBLIGATION = _of_epoch(
    "tollgate_epoch_obligation_usd",
    "What suppliers earned in the epoch, the stipend for being there among it",
)
EPOCH_STIPEND = _of_epoch(
    "tollgate_epoch_stipend_usd", "The part of the obligation earned by being available"
)
EPOCH_PAID = _of_epoch(
    "tollgate_epoch_paid_usd", "What suppliers were paid, by asset, at the epoch's price", "asset"
)
EPOCH_UNPAID = _of_epoch("tollgate_epoch_unpaid_usd", "What the epoch could not pay; it is owed on")
EPOCH_DEBT = _of_epoch("tollgate_epoch_debt_usd", "All that is owed to suppliers after the epoch")
EPOCH_RESERVE = _of_epoch(
    "tollgate_epoch_reserve_usd", "What the Fee Vault could spend before the epoch's revenue"
)
EPOCH_SURPLUS = _of_epoch(
    "tollgate_epoch_surplus_usd", "Revenue beyond what the epoch took, before the buyback"
)
EPOCH_BUYBACK = _of_epoch("tollgate_epoch_buyback_usd", "Spent on buying IO back")
EPOCH_BURN_SHARE = _of_epoch(
    "tollgate_epoch_burn_share_ratio", "The part of the surplus that goes into the buyback"
)
EPOCH_IO = _of_epoch(
    "tollgate_epoch_io",
    "IO moved by the epoch: released, paid, burned (bought back), retired (never to be emitted)",
    "moved",
    unit="IO",
)
EPOCH_ALARM = _of_epoch("tollgate_epoch_alarm", "1 for each alarm that the epoch raised", "alarm")
EPOCH_SUPPLIER_OWED = _of_epoch(
    "tollgate_epoch_supplier_owed_usd", "What a supplier had to get, old debt included", "supplier"
)
EPOCH_SUPPLIER_PAID = _of_epoch(
    "tollgate_epoch_supplier_paid_usd", "What a supplier got, in either asset", "supplier"
)
ORACLE_PRICE = _of_epoch(
    "tollgate_oracle_price_usd", "USD for one IO now, at the gateway that closes epochs"
)
ORACLE_STALE = _of_epoch(
    "tollgate_oracle_stale",
    "1 where epochs are closed by this gateway and there is no price for them",
)
ORACLE_FAILING = _of_epoch(
    "tollgate_oracle_sources_failing", "Price sources that did not answer last", unit="sources"
)

EPOCH_METRICS = (
    EPOCH,
    EPOCH_CLOSED,
    EPOCH_PSI,
    EPOCH_RUNWAY,
    EPOCH_PRICE,
    EPOCH_REVENUE,
    EPOCH_OBLIGATION,
    EPOCH_STIPEND,
    EPOCH_PAID,
    EPOCH_UNPAID,
    EPOCH_DEBT,
    EPOCH_RESERVE,
    EPOCH_SURPLUS,
    EPOCH_BUYBACK,
    EPOCH_BURN_SHARE,
    EPOCH_IO,
    EPOCH_ALARM,
    EPOCH_SUPPLIER_OWED,
    EPOCH_SUPPLIER_PAID,
    ORACLE_PRICE,
    ORACLE_STALE,
    ORACLE_FAILING,
)
